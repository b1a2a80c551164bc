"""The largest distance between two points of a set, recommended for VE's sigma_max (Song and Ermon 2020, Technique 1).

With such a sigma_max, samples of the prior carry no information about any single image (Sec. 3.1).
"""

from __future__ import annotations

import math

import numpy as np

BLOCK = 256  # rows per block


def largest_distance(points: np.ndarray, others: np.ndarray) -> float:
    """The largest Euclidean distance from one of `points` (n, d) to one of `others` (m, d).

    Cost: n m d products, and 8 (BLOCK m + n d + m d) bytes.
    """
    x, y = (np.asarray(a, np.float64) for a in (points, others))
    squares = np.einsum("md,md->m", y, y)
    farthest = (-math.inf, 0, 0)
    for start in range(0, len(x), BLOCK):
        rows = x[start : start + BLOCK]
        apart = np.einsum("nd,nd->n", rows, rows)[:, None] + squares - 2.0 * rows @ y.T
        i, j = np.unravel_index(apart.argmax(), apart.shape)
        farthest = max(farthest, (float(apart[i, j]), start + int(i), int(j)))
    _, i, j = farthest
    return float(
        np.linalg.norm(x[i] - y[j])
    )  # from the difference: the expanded squares have cancelled digits


def affordable(num_points: int, dimension: int, products: int, numbers: int) -> int:
    """How many points can be compared pairwise within this budget of products and of numbers in memory; at least two."""
    most = min(math.isqrt(products // dimension), numbers // dimension)
    return min(num_points, max(2, most))
