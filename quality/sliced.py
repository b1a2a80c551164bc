"""MIND: the sliced Wasserstein distance of features, scaled so that a shift counts three times its square."""

from __future__ import annotations

import numpy as np

from score_sde.quality.estimate import Estimate, mean_of
from score_sde.quality.moments import parts_of

DIRECTIONS = 1000
AT_ONCE = 100  # directions per batch


def unit_directions(
    dimension: int, rng: np.random.Generator, count: int = DIRECTIONS
) -> np.ndarray:
    """Random unit vectors (count, d), uniform on the sphere."""
    drawn = rng.standard_normal((count, dimension))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def sliced_distance(x: np.ndarray, y: np.ndarray, directions: np.ndarray) -> Estimate:
    """3 d times the mean over directions of the squared 2-Wasserstein distance of the projections.

    For a shift it is 3 |shift|^2, and for N(0, a^2 I) and N(0, b^2 I) about 3 d (a - b)^2. For samples of equal
    distributions it is positive and falls as 1/n.

    The error combines that of the first-order expansion in both distributions (`potentials`; see the central limit theorem of
    del Barrio and Loubes 2019) and that of the finite number of directions. Like that of `frechet_estimate` it is meaningless if the
    distributions are equal.

    Args:
      x, y: features (n, d) of equally many images: subsample the larger set at random.
      directions: unit vectors (count, d), see `unit_directions`. Cost: 2 count sorts of n numbers.
    """
    if x.shape != y.shape:
        raise ValueError(
            f"sets of features {x.shape} and {y.shape}: expected equally many, of one size"
        )
    rows, apart = np.asarray(directions, np.float64), []
    influence = np.zeros((2, len(x)))
    for some in np.array_split(rows, -(-len(rows) // AT_ONCE)):
        both = [projections(features, some) for features in (x, y)]
        orders = [np.argsort(each, axis=0) for each in both]
        u, v = (np.take_along_axis(*pair, axis=0) for pair in zip(both, orders, strict=True))
        apart.append(np.mean(np.square(u - v), axis=0))
        for side, (order, found) in enumerate(
            zip(orders, (potentials(u, u - v), potentials(v, v - u)), strict=True)
        ):
            back = np.empty_like(found)
            np.put_along_axis(back, order, found, axis=0)
            influence[side] += back.sum(axis=1) / len(rows)
    mean = mean_of(np.concatenate(apart))
    of_images = sum(mean_of(side).error ** 2 for side in influence)
    of_directions = mean.error**2 if len(rows) > 1 else np.nan
    scale = 3.0 * x.shape[1]
    return Estimate(scale * mean.value, float(scale * np.sqrt(of_images + of_directions)))


def potentials(u: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """First-order contributions of sorted numbers u (n, c) to the squared distance, up to a constant.

    The derivative of the distance in the distribution of u is a function with slope 2 (u - T(u)) at u, twice the move to its partner.
    """
    steps = np.diff(u, axis=0) * (moves[1:] + moves[:-1])
    return np.concatenate([np.zeros((1, u.shape[1])), np.cumsum(steps, axis=0)])


def projections(x: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Projections (n, c) of rows (n, d) on directions (c, d)."""
    return np.concatenate([part @ directions.T for part in parts_of(x)])
