"""Reading of IDX files, the format of MNIST and similar datasets, gzipped or not.

A file has a big-endian header (two zero bytes, a type (8: unsigned bytes), the number of axes, and the size of each in 4 bytes),
followed by the numbers in row-major order (LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/, "File formats").
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from score_sde.data.builders import DatasetError, one_line
from score_sde.machine import check_memory

UNSIGNED_BYTE = 8
GZIP = b"\x1f\x8b"
# split -> images, labels
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def files_of(folder: Path) -> dict[str, tuple[Path, Path]]:
    """The image and label files of each split in a folder.

    Raises:
        DatasetError: a file is missing.
    """
    return {
        split: (file_of(folder, images), file_of(folder, labels))
        for split, (images, labels) in FILES.items()
    }


def read_split(images_path: Path, labels_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the images and labels of a split.

    Returns:
        uint8 images (n, h, w) and uint8 labels (n,).

    Raises:
        DatasetError: a file is damaged, or the numbers of images and labels differ.
    """
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DatasetError(
            f"{images_path} has {len(images)} images, and {labels_path} has {len(labels)} labels; they belong to different datasets"
        )
    return images, labels


def file_of(folder: Path, name: str) -> Path:
    """The file of this name, or else its gzipped version."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    names = ", ".join(name for names in FILES.values() for name in names)
    raise DatasetError(
        f"{folder} has neither {name} nor {name}.gz; expected {names}, gzipped or not"
    )


def read_idx(path: Path, axes: int) -> np.ndarray:
    """Read the array of unsigned bytes with this number of axes from a file.

    Raises:
        DatasetError: not an IDX file, another type or number of axes, or shorter or longer than its header says.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == GZIP
            file.seek(0)
            if not zipped:
                return parse(file, path, axes)
            with gzip.open(file) as unpacked:
                return parse(unpacked, path, axes)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} cannot be read: {one_line(error)}") from error


def parse(file: io.BufferedIOBase, path: Path, axes: int) -> np.ndarray:
    """Read the array in an open file: as many bytes as its header says, and one more to check that the file ends there."""
    header = file.read(4 + 4 * axes)
    if len(header) < 4 or header[:2] != b"\0\0":
        raise DatasetError(
            f"{path} begins with {header[:4]!r}: expected an IDX file, two zero bytes, a type and the number of axes"
        )
    if header[2] != UNSIGNED_BYTE or header[3] != axes:
        raise DatasetError(
            f"{path} has numbers of type {header[2]:#04x} on {header[3]} axes; expected unsigned bytes, 0x08, on {axes}: "
            + ("images (n, h, w)" if axes == 3 else "labels (n,)")
        )
    if len(header) < 4 + 4 * axes:
        raise DatasetError(f"{path} ends within its header, after {len(header)} bytes")
    shape = struct.unpack(f">{axes}I", header[4:])
    size = math.prod(shape)
    if size == 0:
        raise DatasetError(f"{path} is of shape {shape}, which has nothing in it")
    check_memory(f"{path}, of shape {shape},", size, 0)
    content = file.read(size + 1)
    if len(content) != size:
        found = "more" if len(content) > size else f"{len(content)}"
        raise DatasetError(
            f"{path} is damaged: {size} bytes of shape {shape} are expected after its header, and there are {found}"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)
