"""Evaluation of restored images: distance to the originals, fit to the measurements, calibration."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.evaluation.calibration import (
    coverage_ranks,
    directions_of_figures,
    figures_of_images,
    ranks_among,
)
from score_sde.evaluation.similarity import psnr, ssim
from score_sde.evaluation.uniformity import Uniformity, uniformity
from score_sde.measurements.linear import Spectral
from score_sde.measurements.measurement import Measurement
from score_sde.restoration.observed import Observed
from score_sde.spaces import Space

CONFIDENCE = 0.99
LEVELS = {"50": 0.5, "90": 0.9}  # credibilities at which coverage is reported
UNMEASURED = 1e-4
"""Part of a direction outside the measured modes, relative to its length, below which y determines an image along it, up to rounding."""


class Restored(NamedTuple):
    """Posterior draws (n, L, h, w, c), in the units of the model's images, and the NFE (n, L) of each."""

    draws: np.ndarray
    nfe: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.draws.mean(axis=1)

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of each pixel over the draws; 0 for a single draw."""
        return self.draws.std(axis=1, ddof=1) if self.draws.shape[1] > 1 else 0.0 * self.mean


def on_unit(space: Space, x: np.ndarray) -> np.ndarray:
    """Images scaled to [0, 1] and clipped."""
    assert space.range is not None
    low, high = space.range
    return np.clip((np.asarray(x, np.float64) - low) / (high - low), 0.0, 1.0)


def with_error(name: str, values: np.ndarray) -> dict[str, float]:
    """The mean over images of values (n,) and its standard error; NaN for a single image."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return {name: float(values.mean()), f"{name}_error": float(error)}


def nearness(space: Space, observed: Observed, restored: Restored) -> dict[str, float]:
    """Distance to the originals: PSNR and SSIM of the mean and of single draws, or the RMS error of unbounded data.

    With dequantization of L levels, originals are the middles of their levels, from 1/(2 L) to 1 - 1/(2 L) on [0, 1], and the peak is 1: PSNR is
    20 log10(L / (L - 1)) higher than between levels from 0 to 1, 6.02 dB for 2 levels, .53 for 17 and .03 for 256.
    Processes one image at a time, so that only its draws are held in float64.
    """
    if observed.originals is None:
        return {}
    measures = {"rms": rms} if space.range is None else {"psnr": psnr, "ssim": ssim}
    found: dict[str, list[float]] = {}
    for stored, draws in zip(observed.originals, restored.draws, strict=True):
        original = np.asarray(space.encode_middle(jnp.asarray(stored[None])))
        for shown, images in (("mean", draws.mean(axis=0, keepdims=True)), ("draw", draws)):
            pair = images, original
            if space.range is not None:
                pair = on_unit(space, images), on_unit(space, original)
            for name, measure in measures.items():
                found.setdefault(f"{name}_{shown}", []).append(float(measure(*pair).mean()))
    figures: dict[str, float] = {}
    for name, values in found.items():
        figures |= with_error(name, np.asarray(values))
    return figures


def reach(space: Space, restored: Restored) -> dict[str, float]:
    """`largest_pixel`, the largest |x - centre| of all draws over half the range, 1 at its ends; empty for unbounded data.

    Unlike PSNR, SSIM and the picture, it is of the draws before they are clipped, and unlike residuals of what was not measured too.
    """
    if space.range is None:
        return {}
    low, high = space.range
    centre, half = (low + high) / 2, (high - low) / 2
    draws = restored.draws
    return {"largest_pixel": float(max(draws.max() - centre, centre - draws.min()) / half)}


def rms(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Root mean square of the difference, over all images."""
    return np.sqrt(np.square(x - y).mean())


def distances(measurement: Measurement, observed: Observed, restored: Restored) -> np.ndarray:
    """RMS of y - A x in units of sigma_y (of 1 if it is 0), (n, L + 2): for the L draws, their mean and the original.

    Processes one image at a time, so that memory does not grow with their number. Without originals their column is NaN.
    """

    @jax.jit
    def of_one(measurement: Any, y: Any, x: Any) -> Any:
        return measurement.distance(jnp.broadcast_to(y[None], (len(x), *y.shape)), x)

    originals = np.full_like(restored.mean, np.nan) if observed.x is None else observed.x
    rows = [
        of_one(measurement, y, np.concatenate([draws, mean[None], x[None]]))
        for y, draws, mean, x in zip(
            observed.y, restored.draws, restored.mean, originals, strict=True
        )
    ]
    return np.stack(rows).astype(np.float64)


def fit(observed: Observed, of: np.ndarray) -> dict[str, float]:
    """Fit to the measurements, summarized from `distances`."""
    found = {
        **with_error("residual_draw", of[:, :-2].mean(axis=1)),
        **with_error("residual_mean", of[:, -2]),
    }
    if observed.x is not None:
        found |= with_error("residual_original", of[:, -1])
    return found


def determined_figures(measurement: Measurement, seed: int) -> list[str]:
    """Names of the figures that y determines if it has no noise: those along directions within the measured modes.

    Among draws they differ by rounding errors only. Empty if the singular values of A are unknown.
    """
    linear = measurement.linear
    if not isinstance(linear, Spectral):
        return []
    named = directions_of_figures(math.prod(linear.shape), seed)
    directions = jnp.stack([jnp.asarray(v).reshape(linear.shape) for v in named.values()])
    modes = linear.modes(directions)
    unmeasured = jnp.where(linear.singular_values[None] > 0, 0.0, modes)
    whole, left = (
        jnp.linalg.norm(of.reshape(len(named), -1), axis=1) for of in (modes, unmeasured)
    )
    return [name for name, of in zip(named, left < UNMEASURED * whole, strict=True) if of]


def all_ranks(
    measurement: Measurement,
    observed: Observed,
    restored: Restored,
    of: np.ndarray,
    seed: int,
    left_out: Collection[str] = (),
) -> dict[str, np.ndarray]:
    """Rank of each original among its draws, (n,) for each figure but those `left_out`; `coverage` is that of TARP.

    The reference point of TARP is the previous image, corrected towards the measurement if the singular values of A are known, so that it
    depends on y but not on the original. Residuals are ranked only if there is noise: without it they are rounding errors.
    """
    assert observed.x is not None
    rng, n, count = np.random.default_rng(seed), *restored.draws.shape[:2]
    truth, draws = observed.x.reshape(n, -1), restored.draws.reshape(n, count, -1)
    of_truth, of_draws = figures_of_images(truth, seed), figures_of_images(draws, seed)
    found = {
        name: ranks_among(of_truth[name], of_draws[name], rng)
        for name in of_truth
        if name not in left_out
    }
    if float(measurement.std) > 0:
        found["residual"] = ranks_among(of[:, -1], of[:, :-2], rng)
    if n > 1:
        references = moved_references(measurement, observed).reshape(n, -1)
        found["coverage"] = coverage_ranks(truth, draws, references, rng)
    return found


def moved_references(measurement: Measurement, observed: Observed) -> np.ndarray:
    """TARP's reference points: another image for each, corrected towards y, so that they do not depend on the original."""
    linear = measurement.linear
    assert observed.x is not None
    other = np.roll(observed.x, 1, axis=0)
    if not isinstance(linear, Spectral):
        return other

    @jax.jit
    def move(y: Any, x: Any) -> Any:
        # Regularized by a unit prior; the pseudo-inverse of a blur would amplify noise until nothing else is left.
        return x + linear.regularized(y - linear(x), jnp.square(measurement.std), 1.0)

    return np.asarray(move(jnp.asarray(observed.y), jnp.asarray(other)))


def calibration(ranks: dict[str, np.ndarray], num_draws: int) -> dict[str, Any]:
    """Uniformity of the ranks for each figure and jointly (Bonferroni), and the coverage of TARP."""
    tested = {name: uniformity(of, num_draws, CONFIDENCE) for name, of in ranks.items()}
    tarp = tested.pop("coverage", None)
    p_values = {name: of.p_value for name, of in tested.items()}
    worst = min(p_values, key=p_values.__getitem__)
    found: dict[str, Any] = {
        "ranks_p_values": p_values,
        "ranks_worst": worst,
        "ranks_p_value": min(1.0, len(p_values) * p_values[worst]),
    }
    if tarp is not None:
        found["coverage_p_value"] = tarp.p_value
        for name, level in LEVELS.items():
            found |= coverage_figures(f"coverage_{name}", tarp, level)
    return found


def coverage_figures(name: str, tarp: Uniformity, level: float) -> dict[str, Any]:
    """Coverage and its band at the attainable credibility nearest to `level`, and that credibility."""
    k = int(np.argmin(np.abs(tarp.expected - level)))
    return {
        f"{name}_credibility": float(tarp.expected[k]),
        name: float(tarp.found[k]),
        f"{name}_band": [float(tarp.low[k]), float(tarp.high[k])],
    }
