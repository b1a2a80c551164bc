"""Samples on disk: written batch by batch as they are drawn, so that memory does not grow with their number.

Both kinds keep finished batches in `folder`/unfinished-<digest> (score_sde/unfinished.py), from which an interrupted command
with the same settings resumes; at the end they become one .npz file or a folder of .png files, which appears only when it is
complete.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import jax
import numpy as np
from PIL import Image

from score_sde.errors import ConfigError
from score_sde.evaluation.pictures import pillow_image, shades
from score_sde.files import write_whole
from score_sde.unfinished import (
    Batch,
    Unfinished,
    UnfinishedFolder,
    refused_if_damaged,
    unused,
)

IMAGES = "images"  # the array that every batch has, besides others (b, ...)
LABELS = "labels"  # the classes of all images, if they were conditioned on them
CLASS_NAMES = "class_names"  # in the order of the labels, if they are known
ARRAYS = ".npz"  # appended to the name of a folder of pictures: the file of their other arrays


class SampleFiles(Unfinished, Protocol):
    """A store of batches that becomes the result."""

    def of_all_commands(self, seconds: float) -> dict[str, Any]: ...

    def finish(self, folder: Path, stem: str, num_batches: int, **of_all: np.ndarray) -> Path:
        """Write all that was saved, and `of_all`, arrays about all images, under an unused name; remove the unfinished batches.

        Returns:
          The path of the result.
        """


class ArrayFile(UnfinishedFolder):
    """One .npz file with one array for each name in the batches."""

    def finish(self, folder: Path, stem: str, num_batches: int, **of_all: np.ndarray) -> Path:
        target = unused(folder, stem, ".npz")
        self.join(target, num_batches, of_all)
        self.remove()
        return target

    def join(self, target: Path, num_batches: int, of_all: Batch) -> None:
        """Write all batches and `of_all` to one .npz file, with one batch in memory at a time."""
        first, last = self.read(0), self.read(num_batches - 1)

        def write(file: BinaryIO) -> None:
            with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
                for name, array in first.items():
                    shape = (len(array) * (num_batches - 1) + len(last[name]), *array.shape[1:])
                    parts = (self.read(number)[name] for number in range(num_batches))
                    write_member(archive, f"{name}.npy", parts, shape, array.dtype)
                for name, array in of_all.items():
                    write_member(archive, f"{name}.npy", iter([array]), array.shape, array.dtype)

        write_whole(target, write)


class PictureFolder(ArrayFile):
    """A folder of .png files named after the images' indices, with levels spread over 0 ... 255, and an .npz file next to it."""

    def __init__(self, folder: Path, identity: dict[str, Any], num_levels: int):
        super().__init__(folder, identity)
        self.num_levels = num_levels
        self.pictures = self.folder / "png"
        self.first = 0  # index of the next batch's first image

    def load(self, number: int) -> Batch | None:
        batch = super().load(number)
        if batch is None:
            return None
        size = len(next(iter(batch.values())))
        levels = [self.levels(self.first + i) for i in range(size)]
        self.first += size
        return {IMAGES: np.stack(levels), **batch}

    def save(self, number: int, batch: Batch) -> None:
        images = batch[IMAGES]
        if jax.process_index() == 0:
            for i, image in enumerate(shades(images, self.num_levels), self.first):
                save = partial(pillow_image(image).save, format="PNG")
                write_whole(self.path(i), save, durable=False)
        self.first += len(images)
        # Saved last: a batch whose file exists has all of its pictures.
        super().save(number, {name: array for name, array in batch.items() if name != IMAGES})

    def path(self, index: int) -> Path:
        return self.pictures / f"{index:06d}.png"

    def levels(self, index: int) -> np.ndarray:
        """The levels (h, w, c) of the image of this index, read back."""
        path = self.path(index)
        with refused_if_damaged(path), Image.open(path) as picture:
            pixels = np.asarray(picture, np.float64) * (self.num_levels - 1) / 255
        return np.round(pixels).astype(np.uint8).reshape(*pixels.shape[:2], -1)

    def finish(self, folder: Path, stem: str, num_batches: int, **of_all: np.ndarray) -> Path:
        target = unused(folder, stem, "")
        self.join(target.with_name(target.name + ARRAYS), num_batches, of_all)
        for number in range(num_batches):  # first: a batch file implies its pictures
            (self.folder / f"{number}.npz").unlink()
        self.pictures.rename(target)
        self.remove()
        return target


def write_member(
    archive: zipfile.ZipFile,
    name: str,
    parts: Iterator[np.ndarray],
    shape: tuple[int, ...],
    dtype: np.dtype,
) -> None:
    """Write an array of this shape in NumPy's format, from consecutive parts along its first axis."""
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    with archive.open(name, "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part).tobytes())


SAVES: dict[str, Callable[[Path, dict[str, Any], int | None], SampleFiles]] = {
    "npz": lambda folder, identity, num_levels: ArrayFile(folder, identity),
    "png": lambda folder, identity, num_levels: PictureFolder(folder, identity, num_levels or 0),
}


def check_save(save: str, num_levels: int | None, num_channels: int) -> None:
    """Refuse .png files for data without levels, with more levels than 8 bits distinguish, or neither grey nor RGB."""
    if save == "png" and not (num_levels and num_levels <= 256):
        raise ConfigError(
            f"sampling.save='png' with data.num_levels={num_levels or 0}: such files hold 2 to 256 levels; set save='npz'"
        )
    if save == "png" and num_channels not in (1, 3):
        raise ConfigError(
            f"sampling.save='png' with data.num_channels={num_channels}: such files hold one channel or three; set save='npz'"
        )
