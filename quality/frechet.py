"""The Frechet distance between Gaussians fitted to two sets of features, its standard error, and its limit of many images.

FID is this distance of the 2048 features of one Inception network (Heusel et al. 2017), in their squared units.
"""

from __future__ import annotations

from collections.abc import Sequence

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

SMALLEST = (
    1e-10  # of a covariance's largest eigenvalue: directions with less are those that no image uses
)


def root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root of a covariance; round-off below 0 counts as 0."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def frechet(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) (Dowson and Landau 1982).

    It is the squared 2-Wasserstein distance of the two Gaussians.
    """
    half, other = root(a.covariance), b.covariance
    # C_a C_b has the eigenvalues of the symmetric root(C_a) C_b root(C_a); features that never change make both singular.
    products = np.linalg.eigvalsh(half @ other @ half)
    mixed = np.sum(np.sqrt(np.maximum(products, 0.0)))
    apart = np.sum(np.square(a.mean - b.mean))
    return float(apart + np.trace(a.covariance) + np.trace(other) - 2.0 * mixed)


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """`frechet` of two sets. Finite sets of one law have a positive distance, which falls as 1/n.

    Args:
      x, y: features or images (n, ...) and (m, ...) of one shape; n and m at least 2.

    Raises:
      ValueError: images of other shapes, or too few.
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
    """T with T C_a T = C_b: the linear part of the map that moves Gaussian a to b at least cost.

    C_b^(1/2) (C_b^(1/2) C_a C_b^(1/2))^(-1/2) C_b^(1/2) (Gelbrich 1990), 0 where neither covariance has anything.
    """
    half = root(b.covariance)
    values, vectors = np.linalg.eigh(half @ a.covariance @ half)
    used = values > SMALLEST * max(values.max(), 0.0)
    inverse = np.where(used, 1.0 / np.sqrt(np.where(used, values, 1.0)), 0.0)
    return half @ (vectors * inverse) @ vectors.T @ half


def influence(x: np.ndarray, a: Gaussian, b: Gaussian) -> np.ndarray:
    """What each row of x, of moments a, adds to the distance to first order, (n,), with mean 0.

    The distance has the derivatives 2 (m_a - m_b) in m_a and I - T in C_a, T of `transport`; a row changes m_a by x - m_a
    and C_a by (x - m_a)(x - m_a)^T - C_a, each over n.
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
    """Of the distance, by the rows of x, whose moments are a: the delta method."""
    return variance_of_mean(influence(x, a, b), strata)


def frechet_estimate(
    x: np.ndarray, y: np.ndarray, strata: tuple[Strata, Strata] = INDEPENDENT
) -> Estimate:
    """The distance of two sets (n, ...) and (m, ...), with its standard error.

    The error is that of the first-order expansion in both laws (`influence`): the delta method, which needs no resampling.
    A bootstrap of this distance would be centred too high, by as much again as the distance itself, and would need an
    eigenvalue problem for each of its sets. It says nothing where the two laws are equal: the expansion begins with the second order
    there.
    """
    check(x, y)
    a, b = moments(x), moments(y)
    variance = variance_of(x, a, b, strata[0]) + variance_of(y, b, a, strata[1])
    return Estimate(frechet(a, b), float(np.sqrt(variance)))


def frechet_to(x: np.ndarray, law: Gaussian, strata: Strata = None) -> Estimate:
    """The distance of a set (n, d) to a law known by its mean and covariance; its error is that of the set alone."""
    a = moments(x)
    return Estimate(frechet(a, law), float(np.sqrt(variance_of(x, a, law, strata))))


def frechet_limit(
    x: np.ndarray,
    y: np.ndarray,
    rng: np.random.Generator,
    splits: int = 8,
    strata: tuple[Strata, Strata] = INDEPENDENT,
) -> Estimate:
    """The distance that infinitely many images would have, with its standard error.

    A distance of n and m images is too large by some a / n + b / m. Halves of x tell a: D(n/2, m) - D(n, m) is a / n, and
    halves of y the same of b; both halves of random splits are averaged. To first order the halves' mean is the distance of
    the whole, so the error is that of `frechet_estimate`, and that of the halves' mean over splits, which falls with them.
    Chong and Forsyth 2020 fit a line in 1/n through sets of many sizes, of one side only.

    A set with as many images of each class has a smaller excess than independent images have, which halves tell that have as many of
    each class too.

    Args:
      x, y: features (n, ...) and (m, ...), at least four each.
      rng: chooses the halves.
      splits: of each side. Cost: 4 splits + 1 distances.
      strata: of x and of y.
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
    """`frechet_to` of infinitely many images like x, (n, d); what few images the law may be of, it keeps."""
    return extrapolated(frechet_to(x, law, strata), ((x, law, strata),), rng, splits)


def extrapolated(
    whole: Estimate,
    sides: Sequence[tuple[np.ndarray, Gaussian, Strata]],
    rng: np.random.Generator,
    splits: int,
) -> Estimate:
    """The distance of all rows without the excess that halves of each of these sets tell, beside the other's law."""
    excess = np.array(
        [
            sum(
                np.mean([frechet(half, other) for half in halves(rows, strata, rng)]) - whole.value
                for rows, other, strata in sides
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
    """Numbers of rows, as many at a time as are to be copied at once."""
    return [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
