"""Arrays of images in an .npz or .npy file as a dataset: `data.name = "arrays"`, `data.file`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from score_sde.data.array_files import check_real
from score_sde.data.builders import DatasetError
from score_sde.data.conditions import Record
from score_sde.data.held_out import rows_by_name, shuffled_rows
from score_sde.data.image_shape import check_shape, image_shape, sides_of, stored_sides
from score_sde.data.numpy_files import in_words, read_arrays
from score_sde.data.resizing import MODES, SHADES, fit_to
from score_sde.data.splits import Contents, Datasets, ImagesOnDisk
from score_sde.files import user_path

IMAGES, LABELS = ("images", "test_images"), ("labels", "test_labels")
PAIRED = ("paired", "test_paired")


def load_arrays(data: Any) -> Datasets:
    """The array `images` of config.data.file, uint8 (n, h, w, c) or (n, h, w), with the optional `labels`, integers (n,).

    The optional `paired` (n, h, w, _) holds one condition image per image, uint8 or real. `test_images`, `test_labels` and
    `test_paired` form the test split. Without `test_images`, some 5 % of the rows of `images` are held out, selected by hashes of
    the row numbers, so that appended rows do not move others. Both splits are in a fixed pseudorandom order (held_out.py).

    Args:
        data: config.data, with file, image_size, num_channels, stored_levels, and the optional resize, crop_size, resample, pad.

    Raises:
        DatasetError: the file is missing, damaged or not one of NumPy's (numpy_files.py), or its arrays are not as above.
    """
    if not data.file:
        raise DatasetError(
            "data.name='arrays' needs data.file: give the .npz or .npy file with your images, --config.data.file=PATH"
        )
    path = user_path(data.file)
    fit = fit_to(data)
    file = read_arrays(path, (*IMAGES, *LABELS, *PAIRED))
    if "images" not in file.arrays:
        raise DatasetError(
            f"{path} has {in_words(file.others)}, expected `images` with the images to train on"
        )
    arrays = {
        name: as_labels(path, name, array)
        if name in LABELS
        else as_paired(path, name, array)
        if name in PAIRED
        else as_images(path, name, array, data)
        for name, array in file.arrays.items()
    }
    check_lengths(path, arrays)

    def decode(record: Record) -> np.ndarray:
        return fit(record["image"])

    def split(names: tuple[str, str, str], rows: list[int]) -> ImagesOnDisk:
        images, labels, paired = names
        pair = None
        if paired in arrays:
            pair = pair_reader(path, paired, arrays[paired], arrays[images], data)
        source = Rows(path, images, arrays[images], arrays.get(labels), pair, np.asarray(rows))
        return ImagesOnDisk(source, decode, image_shape(data), str(path))

    if "test_images" in arrays:
        train, test = (
            split(names, shuffled_rows(len(arrays[names[0]])))
            for names in zip(IMAGES, LABELS, PAIRED, strict=True)
        )
    else:
        train, test = (
            split(("images", "labels", "paired"), rows)
            for rows in rows_by_name(len(arrays["images"]))
        )
    contents = Contents(
        {name: len(array) for name, array in arrays.items()}, dict.fromkeys(file.others, 1)
    )
    return Datasets(
        str(path), train, test, data.stored_levels, None, lambda: file.parts, lambda: contents
    )


class Rows:
    """Random access to rows of an array of images, with labels and paired images: a source of records for `ImagesOnDisk`.

    pair: row -> its paired image; called only for pairs that are used.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        images: np.ndarray,
        labels: np.ndarray | None,
        pair: Callable[[int], np.ndarray] | None,
        rows: np.ndarray,
    ):
        self.path, self.name, self.images, self.labels, self.rows = path, name, images, labels, rows
        self.pair = pair

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        return [
            {
                "path": f"row {row} of {self.name} in {self.path}",
                "image": np.asarray(self.images[row]),
                "label": -1 if self.labels is None else int(self.labels[row]),
                **({} if self.pair is None else {"paired": functools.partial(self.pair, row)}),
            }
            for row in self.rows[list(indices)].tolist()
        ]


def pair_reader(
    path: Path, name: str, pairs: np.ndarray, images: np.ndarray, data: Any
) -> Callable[[int], np.ndarray]:
    """A function from a row to its image of `paired`, cropped, resized and padded as the row's own image.

    Pairs may also be stored in the final size. Where the images are changed, the function raises DatasetError for other pairs, to which
    the same cannot be done.
    """
    stored = images.shape[1:3]
    resized = data.resize and (data.crop_size > 0 or stored != stored_sides(data))
    if not resized and not data.pad:
        return lambda row: as_condition(pairs[row])
    alike = pairs.dtype == np.uint8 and pairs.shape[1:3] == stored
    if alike and (not resized or pairs.shape[-1] in MODES):
        fit = fit_to(data, num_levels=SHADES)
        return lambda row: fit(np.asarray(pairs[row]))
    if pairs.shape[1:3] == sides_of(data):
        return lambda row: as_condition(pairs[row])
    height, width = sides_of(data)
    changed = " ".join(f"data.{of}={data[of]}" for of in ("resize", "crop_size", "pad") if data[of])

    def refuse(row: int) -> np.ndarray:
        raise DatasetError(
            f"{path}: {changed} also changes {name}, which must then be uint8 of the images' height and width, with one channel or three if it "
            f"is resized; it is {pairs.dtype} of shape {pairs.shape}, with images of shape {images.shape}. Or write it in its final size, "
            f"{height} x {width}"
        )

    return refuse


def as_condition(array: np.ndarray) -> np.ndarray:
    """Read one image of `paired`, or all, into memory: uint8 unchanged, real numbers as float32."""
    return np.asarray(array, np.uint8 if array.dtype == np.uint8 else np.float32)


def as_images(path: Path, name: str, array: np.ndarray, data: Any) -> np.ndarray:
    """Check an array of images against config.data and return it as (n, h, w, c)."""
    if array.dtype != np.uint8:
        raise DatasetError(
            f"{path}: {name} is of type {array.dtype}, expected uint8, grey levels from 0; round and convert it as appropriate (numbers "
            "from 0 to 1: np.round(255 * images).astype(np.uint8))"
        )
    if array.ndim not in (3, 4) or not array.size:
        raise DatasetError(
            f"{path}: {name} has the shape {array.shape}, expected (n, h, w, c), or (n, h, w) for grey images, with no axis of size 0"
        )
    images = array if array.ndim == 4 else array[..., None]
    check_shape(f"{path}: {name}", images.shape[1:], data)
    return images


def as_labels(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Check an array (n,) of labels and return it."""
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise DatasetError(
            f"{path}: {name} is {array.dtype} of shape {array.shape}, expected integers (n,), one for each image"
        )
    if array.size and (array.min() < -1 or array.max() > np.iinfo(np.int32).max):
        raise DatasetError(
            f"{path}: {name} has numbers from {array.min()} to {array.max()}, expected classes 0, 1, ..., and -1 where the class is unknown"
        )
    return array


def as_paired(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Check an array (n, h, w, c) of 8-bit or real images and return it as it is: it may be memory-mapped and larger than memory."""
    if array.ndim != 4 or not (array.dtype == np.uint8 or array.dtype.kind == "f"):
        raise DatasetError(
            f"{path}: {name} is {array.dtype} of shape {array.shape}, expected (n, h, w, c) of uint8, or of real numbers"
        )
    if array.dtype.kind == "f":  # shades are finite
        check_real(f"{path}: {name}", array)
    return array


def check_lengths(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Refuse labels or pairs that do not match the images or belong to one split only, and a single image, which cannot be split."""
    for images, labels in zip(IMAGES, LABELS, strict=True):
        if labels in arrays and len(arrays[labels]) != len(arrays.get(images, ())):
            raise DatasetError(
                f"{path} has {len(arrays[labels])} {labels} for {len(arrays.get(images, ()))} {images}; give one for each"
            )
    if "test_images" in arrays and ("labels" in arrays) != ("test_labels" in arrays):
        raise DatasetError(f"{path} has labels for one split only; give them for both or neither")
    for images, paired in zip(IMAGES, PAIRED, strict=True):
        if paired in arrays and len(arrays[paired]) != len(arrays.get(images, ())):
            raise DatasetError(
                f"{path} has {len(arrays[paired])} {paired} for {len(arrays.get(images, ()))} {images}; give one for each"
            )
    if "test_images" in arrays and ("paired" in arrays) != ("test_paired" in arrays):
        raise DatasetError(f"{path} has pairs for one split only; give them for both or neither")
    if "test_images" not in arrays and len(arrays["images"]) == 1:
        raise DatasetError(f"{path} has one image; a train and a test split need two")
