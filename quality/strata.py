"""Sets whose images are not independent: equally many of each class, or several made from each of some images.

Statistics of the first vary less than those of independent images, and of the second more.
"""

from __future__ import annotations

import dataclasses

import numpy as np

EVEN = "the {what} are equally many per class (or text, or condition image): errors and limit are those of such a stratified set"
# With fewer different images than this, the spread between them is not known well enough for an error.
FEWEST_IMAGES = 10

Halves = tuple[np.ndarray, np.ndarray]
"""Row indices of two halves of a set."""


@dataclasses.dataclass(frozen=True, eq=False)
class Even:
    """A stratified set, with equally many images of each class."""

    labels: np.ndarray
    """(n,)"""

    def halves(self, rng: np.random.Generator) -> Halves:
        """Halves with half of every class."""
        order = rng.permutation(len(self.labels))
        by_class = order[np.argsort(self.labels[order], kind="stable")]
        return cut(np.concatenate([by_class[1::2], by_class[::2]]))

    def part(self, rows: np.ndarray) -> Strata:
        """The strata of these rows alone."""
        return strata_of(self.labels[rows])

    def variance_of_mean(self, values: np.ndarray) -> float:
        """The variance to which differences between classes do not contribute."""
        count, classes = len(values), np.unique(self.labels, return_inverse=True)[1]
        means = np.bincount(classes, values) / np.bincount(classes)
        return float(np.sum(np.square(values - means[classes])) / count / (count - len(means)))


@dataclasses.dataclass(frozen=True, eq=False)
class Groups:
    """A set of independent groups, as of samples that share their condition image or start image."""

    of: np.ndarray
    """The group (n,) of each image, numbered from 0."""

    def halves(self, rng: np.random.Generator) -> Halves:
        """Halves of whole groups."""
        order = rng.permutation(self.of.max() + 1)
        first = np.isin(self.of, order[: len(order) // 2])
        return np.flatnonzero(first), np.flatnonzero(~first)

    def part(self, rows: np.ndarray) -> Strata:
        """The strata of these rows alone, whose groups may be fewer."""
        return strata_of_shared(np.unique(self.of[rows], return_inverse=True)[1])

    def variance_of_mean(self, values: np.ndarray) -> float:
        """The variance by the spread of the sums over groups."""
        sums = np.bincount(self.of, values - values.mean())
        return float(np.sum(np.square(sums)) / len(values) ** 2 * len(sums) / (len(sums) - 1))


Strata = Even | Groups | None
"""None for independent images."""


def strata_of(labels: np.ndarray | None) -> Strata:
    """The strata by labels (n,) if class counts differ by at most one image and are at least four, else None.

    Independent images rarely happen to satisfy this; given that they do, they are such a set.
    """
    if labels is None:
        return None
    _, counts = np.unique(labels, return_counts=True)
    even = len(counts) > 1 and np.ptp(counts) <= 1 and counts.min() >= 4
    return Even(labels) if even else None


def strata_in_turn(count: int, number: int) -> Strata:
    """The strata of `count` images made from `number` different ones in turn; from too few for an error, those of images of these alone."""
    return strata_of_shared(np.arange(count) % number)


def strata_of_shared(own: np.ndarray) -> Strata:
    """The strata of images made from different ones, numbered from 0 by `own` (n,)."""
    return Groups(own) if own.max() + 1 >= FEWEST_IMAGES else strata_of(own)


def turns_in_words(count: int, number: int) -> str:
    """What a reader should know of the errors of `count` samples that take `number` different condition or start images in turn."""
    about = f"{count} samples take only {number} different condition or start images in turn: "
    if number < FEWEST_IMAGES:
        return f"{about}all errors and the limit are those of samples of these images alone"
    return (
        f"{about}error and limit of the Frechet distance are those for infinitely many such images, and every other error that of samples of "
        "these images alone"
    )


def independent_count(count: int, strata: Strata) -> int:
    """How many of `count` images are independent: the number of groups of those that share an image."""
    return int(strata.of.max()) + 1 if isinstance(strata, Groups) else count


def dealt_in_halves(count: int, strata: Strata, rng: np.random.Generator) -> Halves:
    """Indices of two random halves of `count` images."""
    return cut(rng.permutation(count)) if strata is None else strata.halves(rng)


def variance_of_mean(values: np.ndarray, strata: Strata) -> float:
    """Variance of the mean of values (n,), one of each image."""
    of = Even(np.zeros(len(values), int)) if strata is None else strata
    return of.variance_of_mean(values)


def cut(order: np.ndarray) -> Halves:
    """The two halves of an order."""
    middle = len(order) // 2
    return order[:middle], order[middle:]
