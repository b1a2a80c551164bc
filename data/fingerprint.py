"""By what a run knows its dataset again: how many images, and a hash of the names and sizes of what holds them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import NamedTuple


class Fingerprint(NamedTuple):
    """Of a dataset, or what a run has recorded of it."""

    num_images: int
    hash: str
    """Hexadecimal; of the files' contents it knows no more than their sizes."""


def fingerprint(num_images: int, files: Iterable[tuple[str, int]]) -> Fingerprint:
    """Of names and sizes, in whatever order they come."""
    total = hashlib.sha256()
    for name, size in sorted(files):
        total.update(os.fsencode(name) + b"\0" + str(size).encode() + b"\n")
    return Fingerprint(num_images, total.hexdigest()[:32])
