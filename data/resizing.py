"""Decoding stored images; centre crop and resize where they are larger or differ in size; a border where they are smaller."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from score_sde.data.builders import DatasetError, one_line
from score_sde.data.conditions import Record
from score_sde.data.image_shape import check_size, in_words, stored_sides
from score_sde.options import choose

MODES = {1: "L", 3: "RGB"}

ORIENTATION = 0x0112
# EXIF's orientation -> Pillow's Transpose that undoes it; 1 is upright.
TURNS: dict[Any, Any] = dict(zip(range(2, 9), (0, 3, 1, 5, 4, 6, 2), strict=True))
SIDEWAYS = (5, 6, 7, 8)  # of these, those that exchange height and width

# data.resample -> Pillow's filter; all of them widen when they shrink an image (no aliasing).
FILTERS = {"bicubic": "BICUBIC", "bilinear": "BILINEAR", "box": "BOX"}


def image_decoder(data: Any, finished: bool = False) -> Callable[[bytes], np.ndarray]:
    """A stored image's bytes -> uint8 (h, w, num_channels), cropped, resized and padded if config.data says so.

    Args:
        data: config.data with num_channels, image_size, resize, crop_size, resample and pad.
        finished: nothing is cropped of an image that has config.data's size already.

    Raises:
        ConfigError: an unknown data.resample, at once and not with the first image.
        DatasetError: another number of channels than 1 or 3, or a part to crop of images that are not resized, likewise.
    """
    check_channels(data, "stored images")
    fit = fit_to(data, finished)
    return lambda encoded: fit(decode_image(encoded, data.num_channels))


def record_decoder(
    data: Any, read: Callable[[Record], bytes], finished: bool = False
) -> Callable[[Record], np.ndarray]:
    """A record with "path", what to call its image -> uint8 (h, w, num_channels) of config.data, from the bytes that are read.

    `finished` as `image_decoder` has it.
    """
    decode = image_decoder(data, finished)

    def decode_record(record: Record) -> np.ndarray:
        try:
            image = decode(read(record))
        except Exception as error:
            raise unreadable_image(record["path"], error) from error
        height, width, _ = image.shape
        check_size(record["path"], (height - 2 * data.pad, width - 2 * data.pad), data)
        return image

    return decode_record


def unreadable_image(what: object, error: Exception) -> DatasetError:
    """The error for a file that is no image, or one that cannot be used."""
    import PIL

    reason = str(error) if isinstance(error, DatasetError) else one_line(error)
    if isinstance(error, PIL.UnidentifiedImageError):  # which names an object in memory
        reason = "it is empty, or of no format that Pillow knows"
    return DatasetError(f"{what} cannot be used as an image: {reason}")


def fit_to(data: Any, finished: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    """A stored image, uint8 (h, w, num_channels), cropped, resized and padded with level 0 if config.data says so.

    Arguments and errors as `image_decoder` has them; channels may be any number where nothing is resized.
    """
    choose("data.resample", data.resample, FILTERS)
    if data.resize:
        check_channels(data, "images that are resized")
    elif data.crop_size:
        raise DatasetError(
            f"data.crop_size={data.crop_size} is of images that are cropped and resized, and data.resize=False: add data.resize=True, or "
            "leave it out"
        )
    wanted, border = stored_sides(data), ((data.pad, data.pad), (data.pad, data.pad), (0, 0))

    def fit(image: np.ndarray) -> np.ndarray:
        if data.resize and not (finished and image.shape[:2] == wanted):
            image = crop_and_resize(image, wanted, data.crop_size, data.resample)
        return np.pad(image, border) if data.pad else image

    return fit


def check_channels(data: Any, what: str) -> None:
    """Refuse channels that Pillow has no image of."""
    if data.num_channels not in MODES:
        raise DatasetError(f"data.num_channels={data.num_channels}: {what} have 1, grey, or 3, RGB")


def decode_image(encoded: bytes, num_channels: int) -> np.ndarray:
    """A PNG, JPEG or WebP as uint8 (h, w, num_channels), 1 for grey or 3 for RGB; what is transparent lies on black.

    Always by Pillow. TFDS would take OpenCV where it is installed, whose JPEGs differ in the last level, so that
    the data would depend on the environment; neither handles the grey and CMYK files in some colour datasets.

    Raises:
        DatasetError: an image of more than 8 bits a channel.
    """
    import PIL.Image

    with PIL.Image.open(io.BytesIO(encoded)) as image:
        # Pillow clips grey ones at 255, which makes most of them white, and cuts colours to their upper 8 bits.
        if image.mode.startswith(("I", "F")) or png_bit_depth(encoded) == 16:
            raise DatasetError(
                f"an image of mode {image.mode} has more than 8 bits a channel; convert it to 8, as you want it rounded"
            )
        # Telephones store pictures sideways, and the angle beside them.
        upright = TURNS.get(image.getexif().get(ORIENTATION))
        opaque = over_black(image) if image.has_transparency_data else image
        flat = opaque.convert(MODES[num_channels])
        pixels = np.asarray(flat if upright is None else flat.transpose(upright))
    return pixels.reshape(*pixels.shape[:2], num_channels)


def upright_size(image: Any) -> tuple[int, int]:
    """Height and width that Pillow's image will have when it is decoded, by its header alone where that says enough."""
    width, height = image.size
    if width != height and image.getexif().get(ORIENTATION) in SIDEWAYS:
        return width, height
    return height, width


def png_bit_depth(encoded: bytes) -> int:
    """Bits a channel of a PNG, from its header (ISO/IEC 15948, 11.2.2); 0 of another format."""
    return encoded[24] if encoded[:8] == b"\x89PNG\r\n\x1a\n" else 0


def over_black(image: Any) -> Any:
    """A picture with transparency on a black background: what a pixel hides is nobody's picture."""
    import PIL.Image

    colours = image.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, (0, 0, 0, 255)), colours)


def crop_and_resize(
    image: np.ndarray, wanted: tuple[int, int], crop_size: int | None, resample: str = "bicubic"
) -> np.ndarray:
    """The middle of an image, as much of it as has the wanted shape, resized by Pillow and rounded to the nearest level.

    What Song et al. 2021 trained on, and the settings for it: CelebA, crop_size=140 and bilinear; LSUN, the
    largest square and bicubic; FFHQ and CelebA-HQ at 256 pixels, means of 4x4 pixels of the large image (box).
    Their code truncates LSUN to whole levels, half a level darker, and does not round CelebA.

    Args:
        image: uint8 (h, w, c), c = 1 or 3.
        wanted: height and width of the result.
        crop_size: shorter side of the part; 0 or None for the largest part.
        resample: a key of FILTERS.

    Returns:
        uint8 (*wanted, c).
    """
    import PIL.Image

    height, width, num_channels = image.shape
    rows, columns = part_of((height, width), wanted, crop_size or 0)
    top, left = (height - rows) // 2, (width - columns) // 2
    part = image[top : top + rows, left : left + columns]
    if (rows, columns) == wanted:
        return part
    # Pillow has no third axis for grey images.
    pillow = PIL.Image.fromarray(part[..., 0] if num_channels == 1 else part)
    resized = pillow.resize(wanted[::-1], PIL.Image.Resampling[FILTERS[resample]])
    return np.asarray(resized).reshape(*wanted, num_channels)


def part_of(available: tuple[int, int], wanted: tuple[int, int], crop_size: int) -> tuple[int, int]:
    """Height and width of the part of an image that is resized, of the wanted shape to the nearest pixel."""
    if crop_size < 0:
        raise DatasetError(
            f"data.crop_size={crop_size}: expected pixels, or 0 for the largest part"
        )
    largest = min(Fraction(n, side) for n, side in zip(available, wanted, strict=True))
    scale = Fraction(crop_size, min(wanted)) if crop_size else largest
    rows, columns = (max(1, round(scale * side)) for side in wanted)
    if rows > available[0] or columns > available[1]:
        raise DatasetError(
            f"data.crop_size={crop_size} is larger than an image of {in_words(available)}; 0 takes the largest part"
        )
    return rows, columns
