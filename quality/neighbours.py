"""Nearest neighbours among features: precision, recall, density and coverage, and the real images nearest to each sample.

The ball around an image reaches to its k-th nearest neighbour in its own set, itself excluded.
Distances are computed in blocks, so that the n x m matrix is never held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from score_sde.quality.estimate import Estimate, mean_of
from score_sde.quality.moments import ROWS, parts_of

BLOCK = 1024  # rows per block


def blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield blocks of rows of x, as slices, with their squared distances to all of y, (block, m)."""
    for start in range(0, len(x), BLOCK):
        rows = np.asarray(x[start : start + BLOCK], np.float64)
        apart = np.concatenate([squared_distances(rows, part) for part in parts_of(y)], axis=1)
        yield slice(start, start + len(rows)), apart


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared distances (n, m) between rows (n, d) and (m, d); rounding errors below 0 are set to 0."""
    squares = np.einsum("nd,nd->n", x, x)[:, None] + np.einsum("md,md->m", y, y)
    return np.maximum(squares - 2.0 * x @ y.T, 0.0)


class Nearest(NamedTuple):
    """The nearest row of another set for each of n rows."""

    distance: np.ndarray
    """Distances (n,)."""
    row: np.ndarray
    """Indices (n,) into the other set."""


def nearest(x: np.ndarray, y: np.ndarray) -> Nearest:
    """The nearest row of y (m, d) for each row of x (n, d). Cost: n m products of rows."""
    row = np.concatenate([apart.argmin(axis=1) for _, apart in blocks(x, y)])
    # Recomputed from differences, as the expanded squares suffer from cancellation.
    distance = [
        np.linalg.norm(part - y[row[i * ROWS : i * ROWS + len(part)]], axis=1)
        for i, part in enumerate(parts_of(x))
    ]
    return Nearest(np.concatenate(distance), row)


def squared_radii(x: np.ndarray, k: int) -> np.ndarray:
    """The squared distance of each row of x (n, d) to its k-th neighbour among the others, (n,).

    Raises:
      ValueError: fewer than k other rows.
    """
    if not 1 <= k < len(x):
        raise ValueError(f"neighbour number {k} of {len(x)} images: expected more images")
    radii = np.empty(len(x))
    for rows, apart in blocks(x, x):
        apart[np.arange(len(apart)), np.arange(rows.start, rows.stop)] = np.inf
        radii[rows] = np.partition(apart, k - 1, axis=1)[:, k - 1]
    return radii


class Neighbourhood(NamedTuple):
    """Means over images, each with its standard error for fixed balls."""

    precision: Estimate
    """Share of samples that lie in the ball around some real image (Kynkaanniemi et al. 2019)."""
    recall: Estimate
    """Share of real images that lie in the ball around some sample."""
    density: Estimate
    """Mean number of balls around real images that contain a sample, over k (Naeem et al. 2020); 1 for equal distributions whose distances do not
    tie, more if they do."""
    coverage: Estimate
    """Share of real images whose ball contains some sample."""
    on_edge: float
    """Share of samples exactly on the edge of the ball around some real image."""

    @property
    def figures(self) -> dict[str, Estimate]:
        """Precision, recall, density and coverage by name."""
        return {
            name: getattr(self, name) for name in ("precision", "recall", "density", "coverage")
        }


def neighbourhood(samples: np.ndarray, real: np.ndarray, k: int = 5) -> Neighbourhood:
    """Precision, recall, density and coverage of samples (n, d) against real images (m, d), with k-th neighbours.

    Balls include their edge. This matters where distances tie, as between images of two levels: without the edge, as in prdc, precision, recall,
    density and coverage are lower. Cost: n^2 + m^2 + n m products of rows.
    """
    around_real, around_samples = squared_radii(real, k), squared_radii(samples, k)
    in_balls, covered = np.zeros(len(samples)), np.zeros(len(real), bool)
    recalled, on_edge = np.zeros(len(real), bool), np.zeros(len(samples), bool)
    for rows, apart in blocks(samples, real):
        within = apart <= around_real
        in_balls[rows] = within.sum(axis=1)
        on_edge[rows] = (apart == around_real).any(axis=1)
        covered |= within.any(axis=0)
        recalled |= (apart <= around_samples[rows, None]).any(axis=0)
    return Neighbourhood(
        mean_of(in_balls > 0), mean_of(recalled), mean_of(in_balls / k), mean_of(covered),
        float(on_edge.mean()),
    )  # fmt: skip
