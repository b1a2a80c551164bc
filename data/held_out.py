"""Held-out split of a dataset without test images: each image is assigned by its own name, independently of the others."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Sequence

# Share of a dataset without a test split that is held out as one. Evaluating on training images would hide overfitting.
HELD_OUT_PERCENT = 5

HASH_BITS = 64


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
