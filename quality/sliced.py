"""MIND: the sliced Wasserstein distance of features, in units in which a shift counts three times its square."""

from __future__ import annotations

import numpy as np

from score_sde.quality.frechet import Estimate
from score_sde.quality.moments import parts_of

DIRECTIONS = 1000
AT_ONCE = 100  # directions


def unit_directions(
    dimension: int, rng: np.random.Generator, count: int = DIRECTIONS
) -> np.ndarray:
    """(count, d), uniform on the sphere."""
    drawn = rng.standard_normal((count, dimension))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def sliced_distance(x: np.ndarray, y: np.ndarray, directions: np.ndarray) -> Estimate:
    """3 d times the mean over directions of the squared 2-Wasserstein distance of projections, and its error over directions.

    Of a shift it is 3 |shift|^2, and of N(0, a^2 I) and N(0, b^2 I) about 3 d (a - b)^2. Equal laws have a positive
    distance, which falls as 1/n.

    Args:
      x, y: features (n, d) of equally many images: take as many of the larger set, at random.
      directions: unit vectors (count, d), see `unit_directions`. Cost: count sorts of n numbers.
    """
    if x.shape != y.shape:
        raise ValueError(
            f"sets of features {x.shape} and {y.shape}: expected equally many, of one size"
        )
    rows = np.asarray(directions, np.float64)
    apart = np.concatenate(
        [
            np.mean(np.square(sorted_projections(x, some) - sorted_projections(y, some)), axis=0)
            for some in np.array_split(rows, -(-len(rows) // AT_ONCE))
        ]
    )
    scale = 3.0 * x.shape[1]
    error = np.std(apart, ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else np.nan
    return Estimate(float(scale * apart.mean()), float(scale * error))


def sorted_projections(x: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Of rows (n, d) on each of (c, d), (n, c)."""
    return np.sort(np.concatenate([part @ directions.T for part in parts_of(x)]), axis=0)
