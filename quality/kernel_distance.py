"""KID: the squared maximum mean discrepancy of features (Binkowski et al. 2018; Gretton et al. 2012, eq. 3)."""

from __future__ import annotations

import numpy as np

from score_sde.quality.estimate import Estimate, mean_of

BLOCK = 1000  # most images of each set in a block
FEWEST_BLOCKS = 10  # to estimate an error


def cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """KID's kernel (x.y / d + 1)^3, (n, m)."""
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def squared_discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased estimate from x (n, d) and y (m, d), at least two rows each; its mean is 0 for equal distributions."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    within = sum(
        (kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1))
        for kernel in (cubic(x, x), cubic(y, y))
    )
    return float(within - 2.0 * cubic(x, y).mean())


def block_count(fewest: int) -> int:
    """Number of blocks for `fewest` images in the smaller set."""
    return max(FEWEST_BLOCKS, -(-fewest // BLOCK))


def kernel_distance(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Estimate:
    """KID with its standard error: the mean over disjoint blocks of images, which are independent.

    As blocks are few, intervals are those of Student's t (`Estimate.interval`). They also hold for equal distributions, for which
    the error of the estimate from all images at once has another form (Zaremba et al. 2013). The number that torch-fidelity and
    others print with KID is the spread over overlapping subsets, which is not the error of the mean.

    Args:
      x, y: features (n, d) and (m, d), at least 20 each.
      rng: assigns images to blocks, at most BLOCK of each set; some of the larger set may be unused. Cost: BLOCK (n + m)
        products of rows.

    Raises:
      ValueError: too few images for FEWEST_BLOCKS blocks of two.
    """
    fewest = min(len(x), len(y))
    count = block_count(fewest)
    if fewest < 2 * count:
        raise ValueError(
            f"{len(x)} and {len(y)} images: KID with its error needs {2 * count} of each"
        )
    dealt = [np.array_split(rng.permutation(len(rows)), count) for rows in (x, y)]
    values = [squared_discrepancy(x[i[:BLOCK]], y[j[:BLOCK]]) for i, j in zip(*dealt, strict=True)]
    return mean_of(np.array(values))
