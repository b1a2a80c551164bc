"""Whether posterior draws are what they claim to be, with no posterior known: SBC and TARP.

Truths and measurements from the joint law are all that is asked for. Of a figure of an image, the truth's place among those of
L draws given its measurement is then uniform on 0 ... L if the draws are the posterior's: simulation-based calibration (Talts et
al. 2018). The distance from a reference point is such a figure, and the place by it is what TARP counts (Lemos et al. 2023): the ball
around the reference that holds a share of the draws should hold that share of the truths. Whether places are uniform:
uniformity.py.

Uniform places do not make a posterior. Draws of the prior have them in every figure that does not look at the measurement;
so take the likelihood among the figures, and references that depend on the measurement.
"""

from __future__ import annotations

import numpy as np

PROJECTIONS = 6


def ranks_among(truth: np.ndarray, draws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How many of the draws (n, L) are below the truth (n,): integers 0 ... L, ties broken by chance."""
    below = np.sum(draws < truth[:, None], axis=1)
    ties = np.sum(draws == truth[:, None], axis=1)
    return below + rng.integers(0, ties + 1)


def coverage_ranks(
    truth: np.ndarray, draws: np.ndarray, references: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """TARP's: how many of the draws (n, L, d) are nearer to a reference than the truth is, both (n, d).

    A reference may depend on the measurement and on anything else but the truth. One truth's draws at a time, so that memory does not
    grow with their number.
    """
    of_truth = np.square(truth - references).sum(axis=1)
    pairs = zip(draws, references, strict=True)
    of_draws = np.stack([np.square(x - reference).sum(axis=1) for x, reference in pairs])
    return ranks_among(of_truth, of_draws, rng)


def figures_of_images(x: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Figures (n, ...) of images (n, ..., d) by name: the mean, and projections on random directions, one of the n in float64 at a time."""
    directions = np.random.default_rng(seed).standard_normal((PROJECTIONS, x.shape[-1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    along = np.stack([np.asarray(part, np.float64) @ directions.T for part in x])
    projected = {f"projection {k + 1}": along[..., k] for k in range(PROJECTIONS)}
    return {"mean": x.mean(axis=-1), **projected}
