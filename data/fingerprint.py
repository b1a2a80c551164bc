"""Dataset fingerprints, by which a run recognizes its dataset: number of images, a hash of file names and sizes, and settings."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:  # splits.py imports this module
    from score_sde.data.splits import Split

# Options of config.data that change the set of images or their pixels.
OF_IMAGES = (
    "name", "label", "num_levels", "stored_levels", "image_size", "image_width", "num_channels", "resize", "crop_size", "resample", "pad",
)  # fmt: skip

SOME = 256  # number of images hashed


class Fingerprint(NamedTuple):
    """The fingerprint of a dataset, or the one that a run has recorded."""

    num_images: int
    hash: str
    """Hexadecimal hash of the names and sizes of the files, but not of their contents."""


def fingerprint(num_images: int, files: Iterable[tuple[str, int]]) -> Fingerprint:
    """The fingerprint of files with these names and sizes, regardless of their order."""
    total = hashlib.sha256()
    for name, size in sorted(files):
        total.update(os.fsencode(name) + b"\0" + str(size).encode() + b"\n")
    return Fingerprint(num_images, total.hexdigest()[:32])


NO_FILES = fingerprint(0, ()).hash
"""Hash of a dataset without files, as recorded for generated datasets by older versions."""


def as_files(**arrays: np.ndarray) -> list[tuple[str, int]]:
    """Pseudo files of arrays without a file: each array's name with a hash of its content, and its size.

    Used for generated images, because another version of NumPy may generate different ones.
    """
    return [
        (f"{name} {hashlib.sha256(array.tobytes()).hexdigest()}", array.nbytes)
        for name, array in arrays.items()
    ]


def hash_of_some(split: Split) -> str:
    """SHA-256 of SOME evenly spaced images and their conditions, which detects changed contents behind equal names and sizes.

    A change of only a few images will usually go unnoticed.
    """
    rows = np.unique(np.linspace(0, split.num_images - 1, SOME).round().astype(int))
    batch = split.take(rows)
    total = hashlib.sha256(batch.images.tobytes())
    for _, of in sorted(dict(batch.condition).items()):
        total.update(of.tobytes())
    return total.hexdigest()


def image_settings(data: Any) -> dict[str, Any]:
    """The options of config.data that, together with the files, determine the images."""
    return {field: data[field] for field in OF_IMAGES}
