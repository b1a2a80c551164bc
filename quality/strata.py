"""Stratified sets, with equally many images of each class: their statistics vary less than those of independent images."""

from __future__ import annotations

import numpy as np

Strata = np.ndarray | None
"""Labels (n,) of a set with equally many images of each class; None for independent images."""
EVEN = "of the {what} there are as many of each class (or text): errors and the limit are those of such a set"


def strata_of(labels: np.ndarray | None) -> Strata:
    """The labels (n,) if class counts differ by at most one image and are at least four, else None.

    Independent images rarely happen to satisfy this; given that they do, they are such a set.
    """
    if labels is None:
        return None
    _, counts = np.unique(labels, return_counts=True)
    even = len(counts) > 1 and np.ptp(counts) <= 1 and counts.min() >= 4
    return labels if even else None


def dealt_in_halves(
    count: int, strata: Strata, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of two random halves of `count` images; with strata, each half has half of every class."""
    order, middle = rng.permutation(count), count // 2
    if strata is not None:
        by_class = order[np.argsort(strata[order], kind="stable")]
        order = np.concatenate([by_class[1::2], by_class[::2]])
    return order[:middle], order[middle:]


def variance_of_mean(values: np.ndarray, strata: Strata) -> float:
    """Variance of the mean of values (n,); with strata, differences between classes do not contribute."""
    count = len(values)
    classes = np.zeros(count, int) if strata is None else np.unique(strata, return_inverse=True)[1]
    means = np.bincount(classes, values) / np.bincount(classes)
    return float(np.sum(np.square(values - means[classes])) / count / (count - len(means)))
