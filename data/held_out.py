"""What is held out of a dataset that has no test images: a function of each image's own name, whatever others there are."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Sequence

# Share of a dataset without a test split that becomes one. Evaluating on training images would hide overfitting.
HELD_OUT_PERCENT = 5

HASH_BITS = 64


def split_by_name(names: Sequence[bytes]) -> tuple[list[int], list[int]]:
    """Positions of what to train on, and of what is held out: whose hash lies in the first HELD_OUT_PERCENT of its range.

    Of few names the one with the least hash is held out always and the one with the largest never, so that neither
    split is empty; only there can a name that comes or goes move another.

    Args:
        names: two or more, all different.
    """
    order, end = shuffled(names), HELD_OUT_PERCENT << HASH_BITS
    below = bisect.bisect_left(order, end, key=lambda i: 100 * name_hash(names[i]))
    held_out = min(max(below, 1), len(names) - 1)
    return order[held_out:], order[:held_out]


def shuffled(names: Sequence[bytes]) -> list[int]:
    """Positions of names in the order of their hashes.

    Two names come in the same order whatever others there are, and the first so many are a fair sample.
    """
    return sorted(range(len(names)), key=lambda i: (name_hash(names[i]), names[i]))


def name_hash(name: bytes) -> int:
    """Evenly from 0 to 2^HASH_BITS - 1."""
    return int.from_bytes(hashlib.sha256(name).digest()[: HASH_BITS // 8], "big")


def rows_by_name(number: int) -> tuple[list[int], list[int]]:
    """`split_by_name` of the rows of an array, whose names are their numbers: rows that are added move none."""
    return split_by_name(row_names(number))


def shuffled_rows(number: int) -> list[int]:
    """Rows of a file in the order of the hashes of their numbers."""
    return shuffled(row_names(number))


def row_names(number: int) -> list[bytes]:
    """The names of rows: their numbers."""
    return [str(row).encode() for row in range(number)]
