"""A folder of image files as a dataset, decoded when they are asked for: `data.name = "folder"`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from score_sde.data.builders import DatasetError, one_line
from score_sde.data.conditions import Record
from score_sde.data.image_files import found, image_files
from score_sde.data.resizing import image_decoder
from score_sde.data.splits import HELD_OUT_PERCENT, Datasets, ImagesOnDisk
from score_sde.files import user_path

# Files of each split whose sizes are read before training; the others are checked when they are decoded.
CHECKED_FILES = 256

HASH_BITS = 64


def load_folder(data: Any) -> Datasets:
    """The images under config.data.folder: of its subfolders train/ and test/, or if it has neither, all of
    them, some 5 % being held out as the test split: by their own names, so that no image changes sides when others come or
    go (`split_by_name`). An image's class is the first folder on the way to it from there; the classes are numbered in the
    order of their names.

    Args:
        data: config.data, with folder, image_size, num_channels, and the optional resize, crop_size, resample
            and stored_levels. Which files are images: data/image_files.py.

    Raises:
        DatasetError: no such folder, no images in it, half a division into train/ and test/, an image in both, or
            images of another size without data.resize.
    """
    folder = folder_of(data)
    train, test = split_files(folder)
    decode = file_decoder(data)
    for files in (train, test):
        check_sizes(files, data)
    shape = (data.image_size, data.image_size, data.num_channels)
    depth = 1 if (folder / "train").is_dir() else 0
    classes = {path: class_of(path, folder, depth) for path in (*train, *test)}
    names = sorted(set(classes.values()) - {""})
    labels = {"": -1, **{name: i for i, name in enumerate(names)}}

    def split(files: list[Path]) -> ImagesOnDisk:
        source = Files(files, [labels[classes[path]] for path in files])
        return ImagesOnDisk(source, decode, shape, str(folder))

    def sizes() -> Iterator[tuple[str, int]]:
        for part, paths in (("train", train), ("test", test)):
            for path in paths:
                yield f"{part}: {path.relative_to(folder).as_posix()}", path.stat().st_size

    # With an image of no class, names would say that all have one.
    known = None if "" in classes.values() else tuple(names)
    return Datasets(str(folder), split(train), split(test), data.stored_levels, known, sizes)


class Files:
    """Random access to paths and labels, as `ImagesOnDisk` asks for records."""

    def __init__(self, paths: list[Path], labels: list[int]):
        self.paths, self.labels = paths, labels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        return [{"path": self.paths[i], "label": self.labels[i]} for i in indices]


def class_of(path: Path, folder: Path, depth: int) -> str:
    """The folder on the way to an image that is `depth` below the data's, "" where the image itself lies there."""
    parts = path.relative_to(folder).parts[depth:]
    return parts[0] if len(parts) > 1 else ""


def folder_of(data: Any) -> Path:
    if not data.folder:
        raise DatasetError(
            "data.name='folder' needs data.folder: give the folder with your images, "
            "--config.data.folder=PATH"
        )
    folder = user_path(data.folder)
    if not folder.is_dir():
        raise DatasetError(
            f"data.folder={data.folder} is not a folder; give one with image files in it"
        )
    return folder


def split_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files to train and to test on, each in an order of their own (`shuffled`), so that the first so many are a fair sample."""
    divided = [name for name in ("train", "test") if (folder / name).is_dir()]
    if len(divided) == 1:
        missing = "test" if divided == ["train"] else "train"
        raise DatasetError(
            f"data.folder={folder} has {divided[0]}/ but no {missing}/; add it, or name {folder / divided[0]} "
            f"as data.folder, of which {HELD_OUT_PERCENT} % are then held out"
        )
    if divided:
        train, test = (found(folder / name) for name in ("train", "test"))
        if both := sorted(train.keys() & test.keys()):
            raise DatasetError(
                f"{train[both[0]]} and {test[both[0]]} are one file, and {len(both)} are in train/ and test/ so; remove one of "
                "the links"
            )
        return shuffled(folder, list(train.values())), shuffled(folder, list(test.values()))
    return split_by_name(folder, image_files(folder))


def split_by_name(folder: Path, files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The files to train on, and those that are held out: whose hash lies in the first HELD_OUT_PERCENT of its range.

    Of few files the one with the least hash is held out always and the one with the largest never, so that neither
    split is empty; only there can a file that comes or goes move another.
    """
    if len(files) == 1:
        raise DatasetError(f"data.folder={folder} has one image; a train and a test split need two")
    files = shuffled(folder, files)
    below = sum(100 * name_hash(folder, path) < HELD_OUT_PERCENT << HASH_BITS for path in files)
    held_out = min(max(below, 1), len(files) - 1)
    return files[held_out:], files[:held_out]


def shuffled(folder: Path, files: Sequence[Path]) -> list[Path]:
    """The files by their hashes: in whatever company, two of them come in the same order."""
    return sorted(files, key=lambda path: (name_hash(folder, path), path))


def name_hash(folder: Path, path: Path) -> int:
    """Of a file's path below the folder, evenly from 0 to 2^HASH_BITS - 1."""
    name = os.fsencode(path.relative_to(folder).as_posix())
    return int.from_bytes(hashlib.sha256(name).digest()[: HASH_BITS // 8], "big")


def check_sizes(files: list[Path], data: Any) -> None:
    """Refuse images of another size, from the first bytes of some of the files."""
    import PIL.Image

    if data.resize:
        return
    for path in files[:CHECKED_FILES]:
        try:
            with PIL.Image.open(path) as image:
                width, height = image.size
        except Exception as error:
            raise unreadable_image(path, error) from error
        check_size(path, (height, width), data.image_size)


def check_size(path: Path, size: tuple[int, ...], image_size: int) -> None:
    if size != (image_size, image_size):
        raise DatasetError(
            f"{path} has {size[0]}x{size[1]} pixels, but data.image_size={image_size}; correct it, or set "
            "data.resize=True to crop to a square and resize"
        )


def file_decoder(data: Any) -> Callable[[Record], np.ndarray]:
    """{"path": Path} -> uint8 (image_size, image_size, num_channels)."""
    decode = image_decoder(data)

    def decode_file(record: Record) -> np.ndarray:
        path = record["path"]
        try:
            image = decode(path.read_bytes())
        except Exception as error:
            raise unreadable_image(path, error) from error
        check_size(path, image.shape[:2], data.image_size)
        return image

    return decode_file


def unreadable_image(path: Path, error: Exception) -> DatasetError:
    reason = str(error) if isinstance(error, DatasetError) else one_line(error)
    return DatasetError(f"{path} cannot be used as an image: {reason}")
