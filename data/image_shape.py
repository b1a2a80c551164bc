"""How large images are: `data.image_size` is the pixels of a square's side, or a height and a width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from score_sde.data.builders import DatasetError
from score_sde.errors import ConfigError

Size = int | tuple[int, int]
EXPECTED = "pixels a side, or height and width where they differ, such as 8,12"


def is_size(value: Any) -> bool:
    """Whether a value says how large images are: a positive integer, or two that differ, so that no size is said in two ways."""
    pair = isinstance(value, (tuple, list))
    numbers: Sequence[Any] = value if pair else (value,)
    positive = all(
        isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n > 0 for n in numbers
    )
    return positive and (not pair or (len(numbers) == 2 and numbers[0] != numbers[1]))


def sides(image_size: Any) -> tuple[int, int]:
    """Height and width.

    Raises:
        ConfigError: what says no size, from whoever asks first.
    """
    if not is_size(image_size):
        raise ConfigError(f"data.image_size={image_size}: expected {EXPECTED}")
    height, width = image_size if isinstance(image_size, (tuple, list)) else (image_size,) * 2
    return height, width


def image_shape(data: Any) -> tuple[int, int, int]:
    """(h, w, c) of the images of config.data."""
    return (*sides(data.image_size), data.num_channels)


def check_size(what: object, size: tuple[int, ...], data: Any) -> None:
    """Refuse an image of another height and width than config.data's."""
    if size != sides(data.image_size):
        raise DatasetError(
            f"{what} has {in_words(size)} pixels, but data.image_size={data.image_size}; correct it (height first), or set "
            "data.resize=True to crop and resize"
        )


def in_words(size: Sequence[int]) -> str:
    """The height and the width of an image, as 8x12."""
    return f"{size[0]}x{size[1]}"


def check_shape(name: str, stored: tuple[int | None, ...], data: Any) -> None:
    """Refuse stored images (h, w, c) that are not those of config.data, and that it does not say to resize.

    Raises:
        DatasetError: another number of channels, or another size.
    """
    expected = image_shape(data)
    if stored[-1] != expected[-1]:
        raise DatasetError(
            f"{name!r} has {stored[-1]} channels, but data.num_channels={expected[-1]}"
        )
    if stored != expected and not data.resize:
        raise DatasetError(
            f"{name!r} has images of shape {stored}, but data.image_size={data.image_size} and "
            f"data.num_channels={expected[-1]} expect {expected}; correct them, or set data.resize=True "
            "to crop and resize"
        )
