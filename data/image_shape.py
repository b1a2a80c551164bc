"""Image shapes: `data.image_size` is the side of square images in pixels, or the height if `data.image_width` is set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from score_sde.data.builders import DatasetError
from score_sde.errors import ConfigError


def sides(image_size: int, image_width: int = 0) -> tuple[int, int]:
    """Height and width; a width of 0 means square images, and an equal width is refused.

    Raises:
        ConfigError: not a valid size.
    """
    if image_size < 1:
        raise ConfigError(f"data.image_size={image_size}: expected a positive number of pixels")
    if image_width < 0 or image_width == image_size:
        raise ConfigError(
            f"data.image_width={image_width}: expected a width in pixels that differs from the height, data.image_size={image_size}, or 0 "
            "for a square"
        )
    return image_size, image_width or image_size


def sides_of(data: Any) -> tuple[int, int]:
    """Height and width of the images of config.data."""
    return sides(data.image_size, data.image_width)


def stored_sides(data: Any) -> tuple[int, int]:
    """Height and width of stored images, before `data.pad` pixels are added on each side.

    Raises:
        ConfigError: negative padding, or padding that leaves no pixels.
    """
    height, width = (side - 2 * data.pad for side in sides_of(data))
    if data.pad < 0 or min(height, width) < 1:
        raise ConfigError(
            f"data.pad={data.pad}: must be at least 0 and leave at least one pixel of an image of {in_words(sides_of(data))}, since "
            "data.image_size includes the padding"
        )
    return height, width


def image_shape(data: Any) -> tuple[int, int, int]:
    """(h, w, c) of the images of config.data."""
    return (*sides_of(data), data.num_channels)


def check_size(what: object, size: tuple[int, ...], data: Any) -> None:
    """Refuse a stored image whose height and width differ from those of config.data."""
    expected = stored_sides(data)
    if size != expected:
        raise DatasetError(
            f"{what} has {in_words(size)} pixels, but data.image_size and data.image_width say {in_words(expected)}"
            f"{padding_in_words(data)}; correct them, or set data.resize=True to crop and resize"
        )


def padding_in_words(data: Any) -> str:
    """Describe the padding that image_size includes, for a message."""
    return f" plus data.pad={data.pad} on each side" if data.pad else ""


def in_words(size: Sequence[int]) -> str:
    """Height and width as text, such as 8x12."""
    return f"{size[0]}x{size[1]}"


def check_shape(name: str, stored: tuple[int | None, ...], data: Any) -> None:
    """Refuse stored images whose shape (h, w, c) differs from that of config.data.

    Raises:
        DatasetError: another number of channels, or another size without data.resize.
    """
    expected = (*stored_sides(data), data.num_channels)
    if stored[-1] != expected[-1]:
        raise DatasetError(
            f"{name!r} has {stored[-1]} channels, but data.num_channels={expected[-1]}"
        )
    if stored != expected and not data.resize:
        raise DatasetError(
            f"{name!r} has images of shape {stored}, but data.image_size={data.image_size}, data.image_width={data.image_width} and "
            f"data.num_channels={expected[-1]} expect {expected}{padding_in_words(data)}; correct them, or set "
            "data.resize=True to crop and resize"
        )


DRAWN = (
    "mixture",
    "shapes",
    "captions",
)  # datasets whose images are drawn, in memory and at config.data's own size
# Fields of config.data for stored images, and the values of each that change nothing for images that are drawn.
OF_STORED: dict[str, tuple[Any, ...]] = {
    "resize": (False,),
    "crop_size": (0,),
    "pad": (0,),
    "in_memory": ("auto", "yes"),
}


def check_drawn(data: Any) -> None:
    """Refuse options that have no effect on the images of the datasets DRAWN."""
    for field, harmless in OF_STORED.items():
        if data.name in DRAWN and data[field] not in harmless:
            raise DatasetError(
                f"data.{field}={data[field]} has no effect with data.name={data.name!r}, whose images are drawn in memory at data.image_size; "
                f"leave out data.{field}"
            )
