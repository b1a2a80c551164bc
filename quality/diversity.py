"""Diversity of a set of images: mean LPIPS distance of random pairs (Zhu et al. 2017, Sec. 5.1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from score_sde.progress import progress_bar
from score_sde.quality.estimate import Estimate, mean_of

PAIRS = 500  # at most
BATCH = 25  # pairs per batch


def mean_distance(
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray],
    take: Callable[[np.ndarray], np.ndarray],
    count: int,
    rng: np.random.Generator,
    what: str,
) -> Estimate:
    """The mean distance over pairs and its standard error; no image is in two pairs, so that the pairs are independent.

    Args:
      distance: distances (b,) between corresponding images of two batches.
      take: returns the images at these positions.
      count: number of images, at least four.
      rng: chooses the pairs.
      what: label of the progress bar.
    """
    pairs = min(PAIRS, count // 2)
    rows = rng.permutation(count)[: 2 * pairs]
    images, found = take(rows), np.empty(pairs)
    with progress_bar(pairs, what, "pair") as bar:
        for start in range(0, pairs, BATCH):
            end = min(start + BATCH, pairs)
            sides = (images[start:end], images[pairs + start : pairs + end])
            # The last batch is padded, so that a single compiled program suffices.
            a, b = (np.resize(side, (min(BATCH, pairs), *side.shape[1:])) for side in sides)
            found[start:end] = distance(a, b)[: end - start]
            bar.update(end - start)
    return mean_of(found)
