"""A folder of image files as a dataset, decoded when they are asked for: `data.name = "folder"`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from score_sde.data.builders import DatasetError, one_line
from score_sde.data.conditions import Record
from score_sde.data.order import fixed_permutation
from score_sde.data.resizing import image_decoder
from score_sde.data.splits import HELD_OUT_PERCENT, Datasets, ImagesOnDisk

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

# Files of each split whose sizes are read before training; the others are checked when they are decoded.
CHECKED_FILES = 256


def load_folder(data: Any) -> Datasets:
    """The images under config.data.folder: of its subfolders train/ and test/, or if it has neither, all of
    them, a fixed random 5 % being held out as the test split. Which ones depends on the names of all: divide a
    collection that still grows into train/ and test/. An image's class is the first folder on the way to it from there;
    the classes are numbered in the order of their names.

    Args:
        data: config.data, with folder, image_size, num_channels, and the optional resize, crop_size, resample
            and stored_levels. The files are those of SUFFIXES at any depth; names that begin with a dot are not seen.

    Raises:
        DatasetError: no such folder, no images in it, half a division into train/ and test/, or images of
            another size without data.resize.
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

    # With an image of no class, names would say that all have one.
    known = None if "" in classes.values() else tuple(names)
    return Datasets(str(folder), split(train), split(test), data.stored_levels, known)


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
    folder = Path(data.folder).expanduser()
    if not folder.is_dir():
        raise DatasetError(
            f"data.folder={data.folder} is not a folder; give one with image files in it"
        )
    return folder


def split_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files to train and to test on, each in a fixed random order, so that the first so many are a fair sample."""
    divided = [name for name in ("train", "test") if (folder / name).is_dir()]
    if len(divided) == 1:
        missing = "test" if divided == ["train"] else "train"
        raise DatasetError(
            f"data.folder={folder} has {divided[0]}/ but no {missing}/; add it, or name {folder / divided[0]} "
            f"as data.folder, of which {HELD_OUT_PERCENT} % are then held out"
        )
    if divided:
        return shuffled(image_files(folder / "train")), shuffled(image_files(folder / "test"))
    files = shuffled(image_files(folder))
    held_out = max(1, len(files) * HELD_OUT_PERCENT // 100)
    if held_out == len(files):
        raise DatasetError(f"data.folder={folder} has one image; a train and a test split need two")
    return files[:-held_out], files[-held_out:]


def image_files(folder: Path) -> list[Path]:
    """All image files under a folder, sorted by name: the order in which a disk lists them differs between hosts."""
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in names
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    if not found:
        raise DatasetError(
            f"{folder} has no image files: none there or deeper ends in {', '.join(SUFFIXES)}"
        )
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def shuffled(files: list[Path]) -> list[Path]:
    return [files[i] for i in fixed_permutation(len(files))]


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
