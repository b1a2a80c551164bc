"""Images that a user hands over in an .npz or .npy file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from score_sde.data.builders import DatasetError
from score_sde.data.image_shape import image_shape
from score_sde.data.numpy_files import in_words, read_arrays
from score_sde.errors import UserError
from score_sde.files import user_path

PART = 1024  # images at once where all are looked at


def read_images(
    config: Any, field: str, path: str, keys: Sequence[str] = ("images",)
) -> tuple[str, np.ndarray]:
    """The first of these keys in the file that a field of the config names, and its array.

    Raises:
      UserError: a file that cannot be read or has none of the keys, arrays of another shape than the config's images, or
        of anything but finite real numbers in the byte order of this machine.
    """
    try:
        file = read_arrays(user_path(path), keys)
    except DatasetError as error:
        raise UserError(f"{field}={path!r} cannot be read as an .npz file: {error}") from error
    key = next((key for key in keys if key in file.arrays), None)
    if key is None:
        raise UserError(
            f"{field}={path!r} has {in_words(file.others)}, expected {' or '.join(keys)}"
        )
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
            f"{what} has numbers of the other byte order ({array.dtype.str}), of which the devices take none: write the file again with "
            "array.astype(array.dtype.newbyteorder('='))"
        )
    return key, array


def check_real(what: str, array: np.ndarray) -> None:
    """Refuse truth values, complex numbers and what is not finite, of which a conversion to float32 would say nothing."""
    if array.dtype.kind not in "iuf":
        raise UserError(f"{what} is of type {array.dtype}: expected integers or real numbers")
    limit, parts = np.finfo(np.float32).max, range(0, len(array), PART)
    # In parts: the array may be mapped, and larger than memory.
    if not all((np.abs(array[start : start + PART]) <= limit).all() for start in parts):
        raise UserError(f"{what} has values that are not finite in float32: leave those images out")


def check_levels(config: Any, field: str, images: np.ndarray) -> None:
    """Refuse images that are not integer levels of the config's number, or not real numbers where it has none."""
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
