"""The Frechet distance between Gaussians fitted to two sets of features, its standard error, and its limit for infinite sets.

FID is this distance for the 2048 features of a particular Inception network (Heusel et al. 2017), in their squared units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from score_sde.quality.estimate import Estimate, joined_errors, mean_of
from score_sde.quality.moments import (
    ROWS,
    Gaussian,
    Moments,
    moments,
    moments_of_parts,
    parts_of,
)
from score_sde.quality.strata import Strata, dealt_in_halves, variance_of_mean

INDEPENDENT: tuple[Strata, Strata] = (None, None)

# Relative to the largest eigenvalue of a covariance: directions with less variance are not used by any image.
SMALLEST = 1e-10


def root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root of a covariance; eigenvalues below 0, which are rounding errors, count as 0."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def frechet(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) (Dowson and Landau 1982).

    This is the squared 2-Wasserstein distance of the two Gaussians.
    """
    return frechet_from(a)(b)


def frechet_from(a: Gaussian) -> Callable[[Gaussian], float]:
    """`frechet` from one Gaussian to others, with one square root for all: for each only eigenvalues remain, a third of the time."""
    half = root(a.covariance)

    def distance(b: Gaussian) -> float:
        # C_a C_b has the eigenvalues of the symmetric root(C_a) C_b root(C_a); constant features make both singular.
        products = np.linalg.eigvalsh(half @ b.covariance @ half)
        mixed = np.sum(np.sqrt(np.maximum(products, 0.0)))
        apart = np.sum(np.square(a.mean - b.mean))
        return float(apart + np.trace(a.covariance) + np.trace(b.covariance) - 2.0 * mixed)

    return distance


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """`frechet` of two sets. For finite samples of the same distribution it is positive and falls as 1/n.

    Args:
      x, y: features or images (n, ...) and (m, ...) of the same shape; n and m at least 2.

    Raises:
      ValueError: different shapes, or too few images.
    """
    check(x, y)
    return frechet(moments(x), moments(y))


def check(x: np.ndarray, y: np.ndarray) -> None:
    """Refuse sets of images of different shapes, or of fewer than two."""
    if x.shape[1:] != y.shape[1:] or min(len(x), len(y)) < 2:
        raise ValueError(
            f"sets of images {x.shape} and {y.shape}: expected one shape of image, and at least two of each"
        )


def transport(a: Gaussian, b: Gaussian) -> np.ndarray:
    """T with T C_a T = C_b: the linear part of the optimal transport map from Gaussian a to b.

    T = C_b^(1/2) (C_b^(1/2) C_a C_b^(1/2))^(-1/2) C_b^(1/2) (Gelbrich 1990), with 0 in place of the inverse on its null space.
    """
    half = root(b.covariance)
    values, vectors = np.linalg.eigh(half @ a.covariance @ half)
    used = values > SMALLEST * max(values.max(), 0.0)
    inverse = np.where(used, 1.0 / np.sqrt(np.where(used, values, 1.0)), 0.0)
    return half @ (vectors * inverse) @ vectors.T @ half


def influence(x: np.ndarray, a: Gaussian, b: Gaussian) -> np.ndarray:
    """Influence function of the distance: the first-order contribution of each row of x with moments a, (n,), with mean 0.

    The derivatives of the distance are 2 (m_a - m_b) in m_a and I - T in C_a, with T from `transport`; a row changes m_a by
    x - m_a and C_a by (x - m_a)(x - m_a)^T - C_a, each divided by n.
    """
    to_b, apart = transport(a, b), a.mean - b.mean
    parts = []
    for part in parts_of(x):
        centred = part - a.mean
        moved = centred - centred @ to_b
        parts.append(2.0 * centred @ apart + np.einsum("nd,nd->n", centred, moved))
    found = np.concatenate(parts)
    return found - found.mean()


def variance_of(x: np.ndarray, a: Gaussian, b: Gaussian, strata: Strata = None) -> float:
    """Variance of the distance due to the rows of x, with moments a, by the delta method."""
    return variance_of_mean(influence(x, a, b), strata)


def frechet_estimate(
    x: np.ndarray, y: np.ndarray, strata: tuple[Strata, Strata] = INDEPENDENT
) -> Estimate:
    """The distance of two sets (n, ...) and (m, ...), with its standard error.

    The error is that of the first-order expansion in both distributions (`influence`): the delta method, without resampling.
    A bootstrap would add the bias of the distance a second time, and would need an eigenvalue problem for each resample.
    The error is meaningless if the two distributions are equal, since the expansion then begins with the second order.
    """
    check(x, y)
    a, b = moments(x), moments(y)
    variance = variance_of(x, a, b, strata[0]) + variance_of(y, b, a, strata[1])
    return Estimate(frechet(a, b), float(np.sqrt(variance)))


def frechet_to(x: np.ndarray, law: Gaussian, strata: Strata = None) -> Estimate:
    """The distance of a set (n, d) to a Gaussian with known mean and covariance; the error is due to the set alone."""
    a = moments(x)
    return Estimate(frechet(a, law), float(np.sqrt(variance_of(x, a, law, strata))))


def frechet_limit(
    x: np.ndarray,
    y: np.ndarray,
    rng: np.random.Generator,
    splits: int = 8,
    strata: tuple[Strata, Strata] = INDEPENDENT,
) -> Estimate:
    """The distance extrapolated to infinitely many images, with its standard error.

    The distance D(n, m) of n and m images is too large by some a / n + b / m. Halves of x give a, since D(n/2, m) - D(n, m)
    is a / n, and halves of y give b; both halves of random splits are averaged. To first order the mean over halves is the
    distance of the whole, so the error combines that of `frechet_estimate` and that of the mean over splits, which falls with
    their number. Chong and Forsyth 2020 instead fit a line in 1/n to sets of many sizes, on one side only.

    A set with equally many images of each class has a smaller excess than independent images have. It is estimated from halves
    that also have equally many of each class.

    Args:
      x, y: features (n, ...) and (m, ...), at least four each.
      rng: chooses the halves.
      splits: number of random splits of each side. Cost: 4 splits + 1 distances.
      strata: those of x and of y.
    """
    sides = ((x, moments(y), strata[0]), (y, moments(x), strata[1]))
    return extrapolated(frechet_estimate(x, y, strata), sides, rng, splits)


def frechet_limit_to(
    x: np.ndarray,
    law: Gaussian,
    rng: np.random.Generator,
    splits: int = 8,
    strata: Strata = None,
) -> Estimate:
    """`frechet_to` extrapolated to infinitely many images like x (n, d); an excess due to the law's own images remains."""
    return extrapolated(frechet_to(x, law, strata), ((x, law, strata),), rng, splits)


def extrapolated(
    whole: Estimate,
    sides: Sequence[tuple[np.ndarray, Gaussian, Strata]],
    rng: np.random.Generator,
    splits: int,
) -> Estimate:
    """The distance `whole` minus its excess, estimated by the distances of halves of each set to the other's moments."""
    distances = [(rows, frechet_from(other), strata) for rows, other, strata in sides]
    excess = np.array(
        [
            sum(
                np.mean([distance(half) for half in halves(rows, strata, rng)]) - whole.value
                for rows, distance, strata in distances
            )
            for _ in range(splits)
        ]
    )
    mean = mean_of(excess)
    return Estimate(whole.value - mean.value, *joined_errors(whole.error, mean))


def halves(rows: np.ndarray, strata: Strata, rng: np.random.Generator) -> tuple[Moments, Moments]:
    """Moments of the two halves of a random split."""
    first, second = (
        moments_of_parts(part for chunk in chunks(chosen) for part in parts_of(rows[chunk]))
        for chosen in dealt_in_halves(len(rows), strata, rng)
    )
    return first, second


def chunks(rows: np.ndarray) -> list[np.ndarray]:
    """Split row indices into chunks of up to ROWS, so that no more rows are copied at once."""
    return [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
