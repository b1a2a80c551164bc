"""Nearest neighbours among features: precision, recall, density and coverage, and the real images next to each sample.

Real balls are those around each real image with the radius to its k-th neighbour among the real ones, itself left out.
Distances between rows are computed by blocks: n m numbers are never all in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from score_sde.quality.frechet import Estimate
from score_sde.quality.moments import ROWS, parts_of

BLOCK = 1024  # rows at once


def blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of x, and their squared distances to all of y, (block, m)."""
    for start in range(0, len(x), BLOCK):
        rows = np.asarray(x[start : start + BLOCK], np.float64)
        apart = np.concatenate([squared_distances(rows, part) for part in parts_of(y)], axis=1)
        yield slice(start, start + len(rows)), apart


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of rows (n, d) and (m, d), (n, m); what round-off takes below 0 is 0."""
    squares = np.einsum("nd,nd->n", x, x)[:, None] + np.einsum("md,md->m", y, y)
    return np.maximum(squares - 2.0 * x @ y.T, 0.0)


class Nearest(NamedTuple):
    """For each row of one set, of another."""

    distance: np.ndarray
    """(n,)"""
    row: np.ndarray
    """(n,)"""


def nearest(x: np.ndarray, y: np.ndarray) -> Nearest:
    """Of each row of x (n, d) the nearest of y (m, d). Cost: n m products of rows."""
    row = np.concatenate([apart.argmin(axis=1) for _, apart in blocks(x, y)])
    # From the difference: the expanded squares have cancelled digits.
    distance = [
        np.linalg.norm(part - y[row[i * ROWS : i * ROWS + len(part)]], axis=1)
        for i, part in enumerate(parts_of(x))
    ]
    return Nearest(np.concatenate(distance), row)


def squared_radii(x: np.ndarray, k: int) -> np.ndarray:
    """The squared distance of each row of x (n, d) to its k-th neighbour among the others, (n,).

    Raises:
      ValueError: there are no k others.
    """
    if not 1 <= k < len(x):
        raise ValueError(f"the neighbour number {k} among {len(x)} images: expected more images")
    radii = np.empty(len(x))
    for rows, apart in blocks(x, x):
        apart[np.arange(len(apart)), np.arange(rows.start, rows.stop)] = np.inf
        radii[rows] = np.partition(apart, k - 1, axis=1)[:, k - 1]
    return radii


class Neighbourhood(NamedTuple):
    """Shares of images, each with the standard error of a mean over those images; the balls are taken as given."""

    precision: Estimate
    """Samples that lie in a real ball (Kynkaanniemi et al. 2019)."""
    recall: Estimate
    """Real images that lie in a ball around a sample."""
    density: Estimate
    """Real balls in which a sample lies, over k; 1 for equal laws (Naeem et al. 2020)."""
    coverage: Estimate
    """Real images in whose ball a sample lies."""


def neighbourhood(samples: np.ndarray, real: np.ndarray, k: int = 5) -> Neighbourhood:
    """Precision, recall, density and coverage of samples (n, d) against real images (m, d), by k-th neighbours.

    A point on a ball's edge is in it, which matters only where images are equal. Cost: n^2 + m^2 + n m products of rows.
    """
    around_real, around_samples = squared_radii(real, k), squared_radii(samples, k)
    in_balls, covered = np.zeros(len(samples)), np.zeros(len(real), bool)
    recalled = np.zeros(len(real), bool)
    for rows, apart in blocks(samples, real):
        within = apart <= around_real
        in_balls[rows] = within.sum(axis=1)
        covered |= within.any(axis=0)
        recalled |= (apart <= around_samples[rows, None]).any(axis=0)
    return Neighbourhood(
        mean_of(in_balls > 0), mean_of(recalled), mean_of(in_balls / k), mean_of(covered)
    )


def mean_of(values: np.ndarray) -> Estimate:
    """The mean of independent values with its standard error."""
    return Estimate(float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values))))
