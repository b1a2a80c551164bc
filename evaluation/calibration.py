"""Tests of posterior samples without knowing the posterior: SBC and TARP.

They need only pairs of truths and measurements from the joint distribution. For any scalar statistic of an image, the rank of the truth
among L draws given its measurement is uniform on 0 ... L if the draws follow the posterior: simulation-based calibration (Talts et
al. 2018). With the distance from a reference point as the statistic this is TARP (Lemos et al. 2023): a ball around the reference
that contains a fraction of the draws should contain the same fraction of the truths. uniformity.py tests whether ranks are
uniform.

Uniform ranks are necessary, not sufficient. Draws from the prior have uniform ranks in every statistic that does not depend on the
measurement, so include the likelihood among the statistics, and use references that depend on the measurement.
"""

from __future__ import annotations

import numpy as np

PROJECTIONS = 6


def ranks_among(truth: np.ndarray, draws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ranks (n,) of the truth (n,) among the draws (n, L): integers 0 ... L, with ties broken at random."""
    below = np.sum(draws < truth[:, None], axis=1)
    ties = np.sum(draws == truth[:, None], axis=1)
    return below + rng.integers(0, ties + 1)


def coverage_ranks(
    truth: np.ndarray, draws: np.ndarray, references: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The ranks of TARP: how many of the draws (n, L, d) are nearer to the reference (n, d) than the truth (n, d) is.

    A reference may depend on the measurement and on anything else except the truth. The draws of one truth are processed at a time, so
    that memory does not grow with n.
    """
    of_truth = np.square(truth - references).sum(axis=1)
    pairs = zip(draws, references, strict=True)
    of_draws = np.stack([np.square(x - reference).sum(axis=1) for x, reference in pairs])
    return ranks_among(of_truth, of_draws, rng)


def directions_of_figures(d: int, seed: int) -> dict[str, np.ndarray]:
    """The vector (d,) of each of `figures_of_images`, which is its inner product with an image."""
    directions = np.random.default_rng(seed).standard_normal((PROJECTIONS, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    projections = {f"projection {k + 1}": direction for k, direction in enumerate(directions)}
    return {"mean": np.full(d, 1.0 / d), **projections}


def figures_of_images(x: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Statistics (n, ...) of images (n, ..., d) by name: their mean, and projections on random directions, in float64 for one image at a time."""
    directions = directions_of_figures(x.shape[-1], seed)
    matrix = np.stack(list(directions.values()), axis=1)
    along = np.stack([np.asarray(part, np.float64) @ matrix for part in x])
    return {name: along[..., k] for k, name in enumerate(directions)}
