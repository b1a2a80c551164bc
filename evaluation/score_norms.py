"""Mean squared scores and denoising errors of a score model at each noise level.

Two values per level, by Monte Carlo over images x_0 and noise eps, with x_t = alpha x_0 + sigma eps:

    Gamma(t) = E|score(x_t, t)|^2 / d,    m(t) = E|eps - eps_hat(x_t, t)|^2 / d,    eps_hat = -sigma score.

For the exact score m = 1 - sigma^2 Gamma. Ancestral sampling with the optimal variance (samplers/optimal_variance.py) and
optimized time grids (samplers/schedules.py) are computed from them (Bao et al. 2022, Sec. 3; Watson et
al. 2021). They are estimated once per checkpoint and kept in a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde.files import write_whole
from score_sde.models.score import ScoreModel, bind, predicted_noise
from score_sde.npz import read_npz
from score_sde.samplers.noise import IndexedNoise, Noise
from score_sde.samplers.predictors import batch_times
from score_sde.sde_lib import SDE, expand

FORMAT = 1  # version of the file format
SCALARS = ("num_images", "process", "checkpoint_step")  # scalar entries of the file


class ValuesAtTimes(NamedTuple):
    """|score|^2 / d and |eps - eps_hat|^2 / d of each image, both (levels, b)."""

    norms: Array
    errors: Array


def at_times(score: ScoreModel, sde: SDE, x0: Array, times: Array, noise: Noise) -> ValuesAtTimes:
    """Both values for every image x0 (b, ...) at each of the times (levels,), with noise(level, 0, x0).

    All images are used at all levels, so that levels do not differ in their images. Costs one evaluation of the score
    model per image and level.
    """

    def mean_square(a: Array) -> Array:
        return jnp.mean(jnp.square(a).reshape(a.shape[0], -1), axis=1)

    def at_level(level_and_time: tuple[Array, Array]) -> ValuesAtTimes:
        level, time = level_and_time
        eps, t = noise(level, 0, x0), batch_times(x0, time)
        mean, sigma = sde.marginal(x0, t)
        scores = score(mean + expand(sigma, x0) * eps, t)
        missed = eps - predicted_noise(sde, scores, t)
        return ValuesAtTimes(mean_square(scores), mean_square(missed))

    return jax.lax.map(at_level, (jnp.arange(times.shape[0]), times))


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreNorms:
    """The estimates at increasing times, (levels,) float64 each, with standard errors over images, and their provenance."""

    times: np.ndarray
    norms: np.ndarray  # Gamma
    norms_se: np.ndarray
    errors: np.ndarray  # m
    errors_se: np.ndarray
    num_images: int  # per level
    process: str  # repr of the SDE
    checkpoint_step: int

    def save(self, path: Path) -> None:
        """Write an .npz file."""
        write_whole(path, lambda file: np.savez(file, format=FORMAT, **vars(self)))

    @classmethod
    def load(
        cls, path: Path, sde: SDE, checkpoint_step: int, t_start: float, t_end: float
    ) -> ScoreNorms:
        """Read a file, which must be for this process and these weights, and cover the times from t_end to t_start.

        Raises:
          ValueError: the file is for something else, of another format, or damaged.
        """
        try:
            table = {name: array[()] for name, array in read_npz(path).items()}
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}); estimate again") from error
        if table.pop("format", None) != FORMAT:
            raise ValueError(
                f"{path} is not a file of score norms, format {FORMAT}; estimate again"
            )
        names = {field.name for field in dataclasses.fields(cls)}
        times = np.atleast_1d(table.get("times", np.nan))
        arrays = [table[name] for name in names & table.keys() if name not in SCALARS]
        if table.keys() != names or not all(
            array.shape == times.shape and array.dtype.kind == "f" and np.isfinite(array).all()
            for array in arrays
        ):
            raise ValueError(f"{path} is damaged (not finite numbers at each time); estimate again")
        norms = cls(**table)  # type: ignore[arg-type]
        for what, given, expected in (
            ("the process", str(norms.process), repr(sde)),
            ("the checkpoint of step", int(norms.checkpoint_step), checkpoint_step),
        ):
            if given != expected:
                raise ValueError(
                    f"{path} belongs to {what} {given}, but {expected} is in use; estimate again"
                )
        first, last = norms.times[[0, -1]]
        # The ends come from a float32 grid.
        if first > t_end * (1 + 1e-6) or last < t_start * (1 - 1e-6):
            raise ValueError(
                f"{path} has levels from t={first:.6g} to {last:.6g}, but the sampler goes from {t_start:.6g} to "
                f"{t_end:.6g}; estimate at levels around these"
            )
        return norms


def summarise(
    values: Iterable[ValuesAtTimes], sde: SDE, times: np.ndarray, checkpoint_step: int
) -> ScoreNorms:
    """Means and standard errors over the images of all batches, summed in float64.

    Raises:
      ValueError: there are fewer than two images, or the times do not increase.
    """
    times = np.asarray(times, np.float64)
    if not np.all(np.diff(times) > 0):
        raise ValueError("the times of the levels must increase, with the least noise first")
    count, sums, squares = 0, np.zeros((2, len(times))), np.zeros((2, len(times)))
    for batch in values:
        both = np.asarray(jnp.stack(batch), np.float64)  # (2, levels, b)
        count += both.shape[-1]
        sums += both.sum(-1)
        squares += np.square(both).sum(-1)
    if count < 2:
        raise ValueError(f"{count} images: expected 2 or more, for a standard error")
    mean = sums / count
    variance = np.maximum(squares / count - np.square(mean), 0.0) * count / (count - 1)
    standard_error = np.sqrt(variance / count)
    return ScoreNorms(
        times,
        norms=mean[0],
        norms_se=standard_error[0],
        errors=mean[1],
        errors_se=standard_error[1],
        num_images=count,
        process=repr(sde),
        checkpoint_step=checkpoint_step,
    )


def score_norms(
    score: ScoreModel,
    sde: SDE,
    batches: Iterable[tuple[Array, Any]],
    times: np.ndarray,
    key: Array,
    checkpoint_step: int = 0,
) -> ScoreNorms:
    """Estimate on one device; the noise of the i-th image does not depend on the batches.

    Args:
      batches: pairs of images x_0 (b, ...), in the units of the process, and their condition.
      times: increasing times of the levels (levels,).
      key: random key of all noise.
      checkpoint_step: training step of the weights, recorded with the result.

    Cost: one evaluation of the score model per image and level.
    """
    levels = jnp.asarray(times)

    @jax.jit
    def evaluate(score: ScoreModel, x0: Array, condition: Any, indices: Array) -> ValuesAtTimes:
        noise = IndexedNoise.for_images(key, indices)
        return at_times(bind(score, condition), sde, x0, levels, noise)

    def values() -> Iterable[ValuesAtTimes]:
        first = 0
        for x0, condition in batches:
            yield evaluate(score, x0, condition, first + jnp.arange(len(x0)))
            first += len(x0)

    return summarise(values(), sde, times, checkpoint_step)
