"""Sets with as many images of each class: nearer to their law than independent images are, since no class is there too often by chance."""

from __future__ import annotations

import numpy as np

Strata = np.ndarray | None
"""Classes (n,) of images of which there are as many of each; None of images that are independent of one another."""
EVEN = "of the {what} there are as many of each class (or text): errors and the limit are those of such a set"


def strata_of(labels: np.ndarray | None) -> Strata:
    """The labels (n,), where classes differ by one image at most and have four or more.

    Independent images come out so once in a long while, and given that they have they are such a set.
    """
    if labels is None:
        return None
    _, counts = np.unique(labels, return_counts=True)
    even = len(counts) > 1 and np.ptp(counts) <= 1 and counts.min() >= 4
    return labels if even else None


def dealt_in_halves(
    count: int, strata: Strata, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The places of two halves of so many images, at random, with half of each class in either if there are as many of each."""
    order, middle = rng.permutation(count), count // 2
    if strata is not None:
        by_class = order[np.argsort(strata[order], kind="stable")]
        order = np.concatenate([by_class[1::2], by_class[::2]])
    return order[:middle], order[middle:]


def variance_of_mean(values: np.ndarray, strata: Strata) -> float:
    """Of the mean of values (n,): what differs between classes is no chance where there are as many of each."""
    count = len(values)
    classes = np.zeros(count, int) if strata is None else np.unique(strata, return_inverse=True)[1]
    means = np.bincount(classes, values) / np.bincount(classes)
    return float(np.sum(np.square(values - means[classes])) / count / (count - len(means)))
