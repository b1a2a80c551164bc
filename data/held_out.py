"""Test splits: which of a dataset's own, or else one that is held out, to which each image is assigned by its own name."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from score_sde.data.notes import say

# Share of a dataset without a test split that is held out as one. Evaluating on training images would hide overfitting.
HELD_OUT_PERCENT = 5

HASH_BITS = 64

TEST_SPLITS = ("test", "validation")  # the first that a dataset has


def own_test_split(
    dataset: str, splits: Collection[str], first_label: Callable[[str], Any]
) -> str | None:
    """The split to test on: one of TEST_SPLITS, None if a dataset has neither.

    Where there are both, it is `validation` if the labels of `test` are not public, as those of ImageNet and Places.

    Args:
        dataset: its name, for a printed line.
        splits: names of the dataset's splits.
        first_label: returns the label of the first image of a split; None or a negative number if its class is unknown.
    """
    there = [name for name in TEST_SPLITS if name in splits]
    if len(there) > 1 and is_unknown(first_label(there[0])):
        say(f"{dataset}: the images of {there[0]} have no labels; {there[1]} is the test split")
        return there[1]
    return there[0] if there else None


def is_unknown(label: Any) -> bool:
    """Whether a label stands for an unknown class: None or a negative number."""
    return label is None or (isinstance(label, (int, np.integer)) and int(label) < 0)


def split_by_name(names: Sequence[bytes]) -> tuple[list[int], list[int]]:
    """Positions of the training names and of the held-out ones, whose hash is in the first HELD_OUT_PERCENT of its range.

    The name with the smallest hash is always held out and the one with the largest never, so that neither split is
    empty. Only where this rule decides, among few names, can adding or removing a name move another.

    Args:
        names: two or more distinct names.
    """
    order, end = shuffled(names), HELD_OUT_PERCENT << HASH_BITS
    below = bisect.bisect_left(order, end, key=lambda i: 100 * name_hash(names[i]))
    held_out = min(max(below, 1), len(names) - 1)
    return order[held_out:], order[:held_out]


def shuffled(names: Sequence[bytes]) -> list[int]:
    """Positions of the names, sorted by their hashes.

    The relative order of two names does not depend on the others, and any first part is a representative sample.
    """
    return sorted(range(len(names)), key=lambda i: (name_hash(names[i]), names[i]))


def name_hash(name: bytes) -> int:
    """A hash of the name, uniform on the integers 0 to 2^HASH_BITS - 1."""
    return int.from_bytes(hashlib.sha256(name).digest()[: HASH_BITS // 8], "big")


def rows_by_name(number: int) -> tuple[list[int], list[int]]:
    """`split_by_name` for the rows of an array, named by their numbers: appended rows do not move others."""
    return split_by_name(row_names(number))


def shuffled_rows(number: int) -> list[int]:
    """The rows of a file, sorted by the hashes of their numbers."""
    return shuffled(row_names(number))


def row_names(number: int) -> list[bytes]:
    """The names of rows: their numbers in decimal."""
    return [str(row).encode() for row in range(number)]
