"""By what a run knows its dataset again: how many images, a hash of the names and sizes of what holds them, and what is made of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:  # which imports this
    from score_sde.data.splits import Split

# Options of config.data that change which images there are, or their pixels.
OF_IMAGES = (
    "name", "label", "num_levels", "stored_levels", "image_size", "image_width", "num_channels", "resize", "crop_size", "resample", "pad",
)  # fmt: skip

SOME = 256  # images


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


NO_FILES = fingerprint(0, ()).hash
"""Of a dataset that lies in no file: what folders of before have of one that is drawn."""


def as_files(**arrays: np.ndarray) -> list[tuple[str, int]]:
    """Arrays that lie in no file as if each did: names with a hash of the numbers, and sizes.

    For images that are drawn: NumPy does not promise that another version draws the same.
    """
    return [
        (f"{name} {hashlib.sha256(array.tobytes()).hexdigest()}", array.nbytes)
        for name, array in arrays.items()
    ]


def hash_of_some(split: Split) -> str:
    """SHA-256 of SOME images and their conditions, evenly spaced, by which other contents of files of the same names and sizes are seen.

    Not where few images changed, as a rule.
    """
    rows = np.unique(np.linspace(0, split.num_images - 1, SOME).round().astype(int))
    batch = split.take(rows)
    total = hashlib.sha256(batch.images.tobytes())
    for _, of in sorted(dict(batch.condition).items()):
        total.update(of.tobytes())
    return total.hexdigest()


def image_settings(data: Any) -> dict[str, Any]:
    """Of config.data, what the images are with which files."""
    return {field: data[field] for field in OF_IMAGES}
