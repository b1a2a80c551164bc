"""A folder of image files as a dataset, decoded on demand: `data.name = "folder"`."""

from __future__ import annotations

import collections
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from score_sde.data.builders import DatasetError
from score_sde.data.held_out import HELD_OUT_PERCENT, shuffled, split_by_name
from score_sde.data.image_files import beside, found, ignored_suffixes, image_files, suffix
from score_sde.data.image_shape import check_size, image_shape
from score_sde.data.notes import say
from score_sde.data.resizing import SHADES, record_decoder, unreadable_image, upright_size
from score_sde.data.splits import Contents, Datasets, ImagesOnDisk
from score_sde.files import user_path

# Number of files per split whose image sizes are checked before training; the others are checked when decoded.
CHECKED_FILES = 256
PARTS = ("train", "test")  # the subfolders of a divided folder


def load_folder(data: Any) -> Datasets:
    """The images under config.data.folder.

    The splits are its subfolders train/ and test/. If it has neither, some 5 % of all images are held out as the test split,
    selected by their names, so that no image changes sides when others are added or removed (held_out.py). An image's class
    is the name of the topmost folder on its path below the split's; classes are numbered in the order of their names.

    Args:
        data: config.data, with folder, image_size, num_channels, and the optional resize, crop_size, resample,
            pad and stored_levels. Which files count as images: data/image_files.py.

    Raises:
        DatasetError: no such folder, no images in it, only one of train/ and test/, an image in both, or images of
            another size without data.resize.
    """
    folder = folder_of(data)
    train, test = split_files(folder)
    decode = record_decoder(data, lambda record: record["path"].read_bytes())
    for files in (train, test):
        check_sizes(files, data)
    shape = image_shape(data)
    depth = 1 if (folder / "train").is_dir() else 0
    classes = {path: class_of(path, folder, depth) for path in (*train, *test)}
    names = sorted(set(classes.values()) - {""})
    labels = {"": -1, **{name: i for i, name in enumerate(names)}}

    def split(files: list[Path]) -> ImagesOnDisk:
        source = Files(files, [labels[classes[path]] for path in files])
        return ImagesOnDisk(source, decode, shape, str(folder))

    def sizes() -> Iterator[tuple[str, int]]:
        for part, paths in zip(PARTS, (train, test), strict=True):
            for path in paths:
                yield f"{part}: {path.relative_to(folder).as_posix()}", path.stat().st_size

    def contents() -> Contents:
        parts = [folder / name for name in PARTS] if depth else [folder]
        ignored = sum((ignored_suffixes(part) for part in parts), collections.Counter())
        if depth:
            ignored += beside(folder, PARTS)
        full = {path.relative_to(folder).parts[: depth + 1] for path in (*train, *test)}
        for name in (child.relative_to(folder) for part in parts for child in subfolders(part)):
            if name.parts not in full:
                ignored[f"folder {name.as_posix()}/ without images"] = 1
        return Contents(collections.Counter(suffix(path.name) for path in (*train, *test)), ignored)

    # Class names would imply that every image has a class.
    known = None if "" in classes.values() else tuple(names)
    return Datasets(
        str(folder), split(train), split(test), data.stored_levels, known, sizes, contents
    )


def subfolders(folder: Path) -> list[Path]:
    """The folders in this one, sorted by name; names with a leading dot are skipped."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def unusable_images(data: Any, most: int) -> list[str]:
    """The path and fault of each image file that cannot be used, among the first `most` of each split of config.data.folder."""
    decode = record_decoder(data, lambda record: record["path"].read_bytes())
    folder, wrong = folder_of(data), []
    for files in split_files(folder):
        for path in files[:most]:
            try:
                decode({"path": path})
            except DatasetError as error:
                reason = str(error).replace(" cannot be used as an image", "")
                wrong.append(reason.removeprefix(f"{folder}{os.sep}"))
    return wrong


class Files:
    """Random access to paths and labels: a source of records for `ImagesOnDisk`."""

    def __init__(self, paths: list[Path], labels: list[int]):
        self.paths, self.labels = paths, labels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        return [{"path": self.paths[i], "label": self.labels[i]} for i in indices]


def load_pictures(folder: Path, data: Any) -> tuple[ImagesOnDisk, tuple[str, ...]]:
    """All 8-bit images under a folder, sorted by name, as one split, and the names of its classes.

    Images that have config.data's size already are not cropped: they were made from cropped images.
    An image's class is the topmost folder on its path, with label -1 for an image directly in `folder`.

    Raises:
        DatasetError: as in `load_folder`.
    """
    files = image_files(folder)
    check_sizes(files, data)
    classes = [class_of(path, folder, 0) for path in files]
    names = sorted(set(classes) - {""})
    labels = {"": -1, **{name: i for i, name in enumerate(names)}}
    # Shades, however many levels the images of config.data have.
    decode = record_decoder(
        data, lambda record: record["path"].read_bytes(), finished=True, num_levels=SHADES
    )
    source = Files(files, [labels[name] for name in classes])
    return ImagesOnDisk(source, decode, image_shape(data), str(folder)), tuple(names)


def class_of(path: Path, folder: Path, depth: int) -> str:
    """The folder on an image's path that is `depth` levels below `folder`, "" if the image itself is at that level."""
    parts = path.relative_to(folder).parts[depth:]
    return parts[0] if len(parts) > 1 else ""


def folder_of(data: Any) -> Path:
    """The path in config.data.folder; DatasetError if it is empty or not an existing folder."""
    if not data.folder:
        raise DatasetError(
            f"data.name={data.name!r} needs data.folder: give the folder with your images, "
            "--config.data.folder=PATH"
        )
    folder = user_path(data.folder)
    if not folder.is_dir():
        raise DatasetError(
            f"data.folder={data.folder} is not a folder; give one with image files in it"
        )
    return folder


def split_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of the training and the test split, each in a fixed pseudorandom order (`shuffled`)."""
    divided = [name for name in PARTS if (folder / name).is_dir()]
    if len(divided) == 1:
        missing = "test" if divided == ["train"] else "train"
        raise DatasetError(
            f"data.folder={folder} has {divided[0]}/ but no {missing}/; add it, or name {folder / divided[0]} as data.folder; "
            f"{HELD_OUT_PERCENT} % of its images are then held out"
        )
    if divided:
        first, second = (found(folder / name) for name in PARTS)
        if others := beside(folder, PARTS):
            kinds = ", ".join(f"{count} {kind}" for kind, count in others.items())
            say(f"{folder}: not read: {kinds}")
        if both := sorted(first.keys() & second.keys()):
            raise DatasetError(
                f"{first[both[0]]} and {second[both[0]]} are the same file, and {len(both)} files are in both train/ and test/; remove one "
                "of the links"
            )
        return in_fixed_order(folder, first.values()), in_fixed_order(folder, second.values())
    files = image_files(folder)
    if len(files) == 1:
        raise DatasetError(f"data.folder={folder} has one image; a train and a test split need two")
    train, test = split_by_name(names_below(folder, files))
    return [files[i] for i in train], [files[i] for i in test]


def names_below(folder: Path, files: Sequence[Path]) -> list[bytes]:
    """Names of files relative to the folder, by which they are split and shuffled."""
    return [os.fsencode(path.relative_to(folder).as_posix()) for path in files]


def in_fixed_order(folder: Path, files: Collection[Path]) -> list[Path]:
    """Sort files by the hashes of their names."""
    listed = list(files)
    return [listed[i] for i in shuffled(names_below(folder, listed))]


def check_sizes(files: list[Path], data: Any) -> None:
    """Refuse images of another size, as read from the headers of the first CHECKED_FILES files."""
    import PIL.Image

    if data.resize:
        return
    for path in files[:CHECKED_FILES]:
        try:
            with PIL.Image.open(path) as image:
                size = upright_size(image)
        except Exception as error:
            raise unreadable_image(path, error) from error
        check_size(path, size, data)
