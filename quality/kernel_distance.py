"""KID: the squared maximum mean discrepancy of features (Binkowski et al. 2018; Gretton et al. 2012, eq. 3)."""

from __future__ import annotations

import numpy as np

from score_sde.quality.estimate import Estimate, mean_of

BLOCK = 1000  # features of each set that are compared with one another
FEWEST_BLOCKS = 10  # for an error


def cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """KID's kernel (x.y / d + 1)^3, (n, m)."""
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def squared_discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate from x (n, d) and y (m, d), at least two each; of equal laws it is negative as often as positive."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    within = sum(
        (kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1))
        for kernel in (cubic(x, x), cubic(y, y))
    )
    return float(within - 2.0 * cubic(x, y).mean())


def block_count(fewest: int) -> int:
    """Into which so many images, of the smaller set, are dealt."""
    return max(FEWEST_BLOCKS, -(-fewest // BLOCK))


def kernel_distance(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Estimate:
    """KID with its standard error: the mean over blocks that share no image, so that they are independent.

    There are so few blocks that an interval is Student's (`Estimate.interval`). That holds for equal laws too, where the error of the estimate from all images at once has another form
    (Zaremba et al. 2013). The figure that torch-fidelity and others print beside KID is the spread of subsets that share images, which is
    no error of the mean.

    Args:
      x, y: features (n, d) and (m, d), at least 20 each.
      rng: deals images into blocks, at most BLOCK of a set in each; of the larger set some may be in none. Cost: BLOCK (n + m)
        products of rows.

    Raises:
      ValueError: too few for FEWEST_BLOCKS blocks of two.
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
