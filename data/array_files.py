"""Images that a user hands over in an .npz file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from score_sde.errors import UserError
from score_sde.files import user_path
from score_sde.npz import read_npz
from score_sde.quoting import quoted


def read_images(
    config: Any, field: str, path: str, keys: Sequence[str] = ("images",)
) -> tuple[str, np.ndarray]:
    """The first of these keys in the file that a field of the config names, and its array.

    Raises:
      UserError: a file that cannot be read or has none of the keys, arrays of another shape than the config's images, or
        of anything but finite real numbers.
    """
    try:
        arrays = read_npz(user_path(path))
    except ValueError as error:
        raise UserError(
            f"{field}={path!r} cannot be read as an .npz file of arrays: {error}"
        ) from error
    key = next((key for key in keys if key in arrays), None)
    if key is None:
        raise UserError(
            f"{field}={path!r} has {quoted(sorted(arrays)) if arrays else 'no arrays'}, expected {' or '.join(keys)}"
        )
    array = arrays[key]
    side = config.data.image_size
    expected = (side, side, config.data.num_channels)
    if array.ndim != 4 or array.shape[1:] != expected or not len(array):
        raise UserError(
            f"{field}={path!r}: {key} has the shape {array.shape}, expected (n, {', '.join(map(str, expected))}) "
            "of data.image_size and data.num_channels"
        )
    check_real(f"{field}={path!r}: {key}", array)
    return key, array


def check_real(what: str, array: np.ndarray) -> None:
    """Refuse truth values, complex numbers and what is not finite, of which a conversion to float32 would say nothing."""
    if array.dtype.kind not in "iuf":
        raise UserError(f"{what} is of type {array.dtype}: expected integers or real numbers")
    if not (np.abs(array) <= np.finfo(np.float32).max).all():
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
