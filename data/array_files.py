"""Images that an option gives as an .npz or .npy file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from score_sde.data.builders import DatasetError
from score_sde.data.image_shape import image_shape
from score_sde.data.numpy_files import NumpyFile, in_words, read_arrays
from score_sde.errors import UserError
from score_sde.files import user_path
from score_sde.quoting import quoted

PART = 1024  # images checked at once
NUM_LEVELS = "num_levels"  # of the images in a file: what other programs scale them to 0 ... 255 by


def read_images(
    config: Any, field: str, path: str, keys: Sequence[str] = ("images",)
) -> tuple[str, np.ndarray]:
    """Read images from the file given by a config field: the first of these keys that the file has, and its array.

    Raises:
      UserError: the file cannot be read or has none of the keys, or the array does not have the shape of the config's
        images or holds anything but finite real numbers in this machine's byte order; or the file says that the images are
        originals beside draws, or have another number of levels.
    """
    try:
        file = read_arrays(user_path(path), (*keys, NUM_LEVELS))
    except DatasetError as error:
        raise UserError(f"{field}={path!r} cannot be read as an .npz file: {error}") from error
    key = next((key for key in keys if key in file.arrays), None)
    if key is None:
        raise UserError(
            f"{field}={path!r} has {in_words(file.others)}, expected {' or '.join(keys)}"
        )
    refuse_originals(f"{field}={path!r}", file, key)
    check_num_levels(config, f"{field}={path!r}", file)
    array = file.arrays[key]
    expected = image_shape(config.data)
    if array.ndim != 4 or array.shape[1:] != expected or not len(array):
        raise UserError(
            f"{field}={path!r}: {key} has the shape {array.shape}, expected (n, {', '.join(map(str, expected))}) "
            "of data.image_size and data.num_channels"
        )
    what = f"{field}={path!r}: {key}"
    check_real(what, array)
    if not array.dtype.isnative:
        raise UserError(
            f"{what} has non-native byte order ({array.dtype.str}), which devices do not support: save it again with "
            "array.astype(array.dtype.newbyteorder('='))"
        )
    return key, array


def refuse_originals(what: str, file: NumpyFile, key: str) -> None:
    """Refuse a file of --mode restore or interpolate from before its originals had a name of their own."""
    for results in ("draws", "frames"):
        if key == "images" and results in file.others:
            raise UserError(
                f"{what} has `{results}` beside `images`, which are the originals, as --mode restore and --mode interpolate wrote them: save "
                f"the images that you mean, of `{results}` as levels, alone as `images` of another file"
            )


def check_num_levels(config: Any, what: str, file: NumpyFile) -> None:
    """Refuse a file that says its images have another number of levels, since too few of them would all look almost black."""
    if NUM_LEVELS not in file.arrays:
        return
    stated, num_levels = file.arrays[NUM_LEVELS], config.data.num_levels
    if stated.shape or stated.dtype.kind not in "iuf" or stated != num_levels:
        raise UserError(
            f"{what} has images of {NUM_LEVELS}={quoted(stated.tolist())}, and data.num_levels={num_levels}: give images of as many levels, or "
            f"convert these and save them with {NUM_LEVELS}={num_levels}"
        )


def check_real(what: str, array: np.ndarray) -> None:
    """Refuse booleans, complex numbers and non-finite values, which a conversion to float32 would accept silently."""
    if array.dtype.kind not in "iuf":
        raise UserError(f"{what} is of type {array.dtype}: expected integers or real numbers")
    limit, parts = np.finfo(np.float32).max, range(0, len(array), PART)
    # In parts: the array may be memory-mapped and larger than memory.
    if not all((np.abs(array[start : start + PART]) <= limit).all() for start in parts):
        raise UserError(f"{what} has values that are not finite in float32: leave those images out")


def check_levels(config: Any, field: str, images: np.ndarray) -> None:
    """Refuse images that are not integers from 0 to data.num_levels - 1, if the config has levels."""
    num_levels = config.data.num_levels
    if not num_levels:
        return
    if not np.issubdtype(images.dtype, np.integer):
        raise UserError(
            f"{field}: images of type {images.dtype}, expected integer levels 0 to {num_levels - 1}, as --mode sample writes"
        )
    if images.min() < 0 or images.max() >= num_levels:
        raise UserError(
            f"{field}: levels from {images.min()} to {images.max()}, expected 0 to {num_levels - 1} of data.num_levels"
        )
