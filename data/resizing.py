"""Decoding of stored images, with centre crop, resize and padding."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from score_sde.data.builders import DatasetError, one_line
from score_sde.data.conditions import Record
from score_sde.data.image_shape import check_size, in_words, stored_sides
from score_sde.options import choose

MODES = {1: "L", 3: "RGB"}
SHADES = 256  # of a picture that does not hold levels

ORIENTATION = 0x0112
# EXIF orientation -> Pillow's Transpose that undoes it; 1 is upright.
TURNS: dict[Any, Any] = dict(zip(range(2, 9), (0, 3, 1, 5, 4, 6, 2), strict=True))
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange height and width

# data.resample -> Pillow's filter; when an image is shrunk all of them widen, which avoids aliasing.
FILTERS = {"bicubic": "BICUBIC", "bilinear": "BILINEAR", "box": "BOX"}


def image_decoder(
    data: Any, finished: bool = False, num_levels: int | None = None
) -> Callable[[bytes], np.ndarray]:
    """A function from an encoded image to uint8 (h, w, num_channels), cropped, resized and padded as config.data says.

    Args:
        data: config.data with num_channels, image_size, stored_levels, resize, crop_size, resample and pad.
        finished: leave an image that already has config.data's size uncropped.
        num_levels: grey levels of stored images; None for data.stored_levels.

    Raises:
        ConfigError: unknown data.resample; raised immediately, not with the first image.
        DatasetError: a number of channels other than 1 and 3, or data.crop_size without data.resize; likewise.
    """
    check_channels(data, "stored images")
    fit = fit_to(data, finished, num_levels)
    return lambda encoded: fit(decode_image(encoded, data.num_channels))


def record_decoder(
    data: Any,
    read: Callable[[Record], bytes],
    finished: bool = False,
    num_levels: int | None = None,
) -> Callable[[Record], np.ndarray]:
    """A function from a record to its decoded image, uint8 (h, w, num_channels), from the bytes that `read` returns.

    The record's "path" names the image in errors, data.name one of a dataset without paths. `finished` and `num_levels` are those of
    `image_decoder`.
    """
    decode = image_decoder(data, finished, num_levels)

    def decode_record(record: Record) -> np.ndarray:
        what = record.get("path", f"an image of {data.name!r}")
        try:
            image = decode(read(record))
        except Exception as error:
            raise unreadable_image(what, error) from error
        height, width, _ = image.shape
        check_size(what, (height - 2 * data.pad, width - 2 * data.pad), data)
        return image

    return decode_record


class UnusableImage(DatasetError):
    """A file that is not an image, or cannot be used as one."""


def unreadable_image(what: object, error: Exception) -> UnusableImage:
    """The error for a file that is not an image or cannot be used as one."""
    import PIL

    reason = str(error) if isinstance(error, DatasetError) else one_line(error)
    if isinstance(error, PIL.UnidentifiedImageError):  # its message names an object in memory
        reason = "it is empty, or in a format that Pillow does not know"
    return UnusableImage(f"{what} cannot be used as an image: {reason}")


def fit_to(
    data: Any, finished: bool = False, num_levels: int | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """A function that crops, resizes and pads (with level 0) a stored image, uint8 (h, w, num_channels), as config.data says.

    Arguments and errors are those of `image_decoder`; without resizing any number of channels is allowed.
    """
    choose("data.resample", data.resample, FILTERS)
    if data.resize:
        check_channels(data, "images that are resized")
    elif data.crop_size:
        raise DatasetError(
            f"data.crop_size={data.crop_size} has no effect with data.resize=False: set data.resize=True, or leave it out"
        )
    wanted, border = stored_sides(data), ((data.pad, data.pad), (data.pad, data.pad), (0, 0))
    levels = num_levels or data.stored_levels

    def fit(image: np.ndarray) -> np.ndarray:
        if data.resize and not (finished and image.shape[:2] == wanted):
            check_levels(image, levels)
            resized = crop_and_resize(image, wanted, data.crop_size, data.resample)
            image = np.minimum(resized, levels - 1)  # beside an edge, bicubic overshoots
        return np.pad(image, border) if data.pad else image

    return fit


def check_levels(image: np.ndarray, num_levels: int) -> None:
    """Refuse a stored image that has more levels than are expected."""
    if image.max() >= num_levels:
        raise DatasetError(
            f"an image has a pixel of level {image.max()}, but {num_levels} grey levels are expected, 0 to {num_levels - 1}; correct "
            "data.stored_levels"
        )


def check_channels(data: Any, what: str) -> None:
    """Refuse a number of channels that Pillow does not support."""
    if data.num_channels not in MODES:
        raise DatasetError(
            f"data.num_channels={data.num_channels}: {what} must have 1 (grey) or 3 (RGB)"
        )


def decode_image(encoded: bytes, num_channels: int) -> np.ndarray:
    """Decode a PNG, JPEG or WebP to uint8 (h, w, num_channels), grey (1) or RGB (3); transparency is composited over black.

    Decoding is always by Pillow. TFDS would use OpenCV where it is installed, whose JPEGs differ in the last level, so
    that the data would depend on the environment; and neither of its decoders handles the grey and CMYK files in some colour datasets.

    Raises:
        DatasetError: an image of more than 8 bits a channel.
    """
    import PIL.Image

    with PIL.Image.open(io.BytesIO(encoded)) as image:
        if image.format not in BITS:
            raise DatasetError(
                f"an image in the format {image.format}, of whose colours Pillow may keep only 8 bits: convert it to PNG, JPEG or WebP"
            )
        # Pillow would clip grey images at 255, which makes most of them white, and truncate colours to their upper 8 bits.
        if image.mode.startswith(("I", "F")) or BITS[image.format](image, encoded) > 8:
            raise DatasetError(
                f"an image of mode {image.mode} has more than 8 bits a channel; convert it to 8 bits, with the rounding that you want"
            )
        # Phones store pictures sideways, with the orientation in their metadata.
        upright = TURNS.get(image.getexif().get(ORIENTATION))
        opaque = over_black(image) if image.has_transparency_data else image
        flat = opaque.convert(MODES[num_channels])
        pixels = np.asarray(flat if upright is None else flat.transpose(upright))
    return pixels.reshape(*pixels.shape[:2], num_channels)


def upright_size(image: Any) -> tuple[int, int]:
    """Height and width of a Pillow image once decoded, from its header alone where possible."""
    width, height = image.size
    if width != height and image.getexif().get(ORIENTATION) in SIDEWAYS:
        return width, height
    return height, width


def png_bits(image: Any, encoded: bytes) -> int:
    """Bits per channel of a PNG, from its header (ISO/IEC 15948, 11.2.2)."""
    return encoded[24]


def tiff_bits(image: Any, encoded: bytes) -> int:
    """Bits per channel of a TIFF, from its field BitsPerSample (TIFF 6.0, Sec. 8), of which 1 is the default."""
    return max(image.tag_v2.get(258, (1,)))


def ppm_bits(image: Any, encoded: bytes) -> int:
    """Bits per channel of a colour picture in a Netpbm format, from the largest number that its header allows; 8 for others."""
    numbers = PPM_NUMBERS.match(encoded)
    return int(numbers[1]).bit_length() if numbers else 8


def eight_bits(image: Any, encoded: bytes) -> int:
    """Bits per channel in formats that have no more."""
    return 8


# Pillow's name of a format -> bits per channel of an image. Pillow also opens formats with more bits than it keeps, such as JPEG 2000.
BITS: dict[str | None, Callable[[Any, bytes], int]] = {
    "PNG": png_bits,
    "TIFF": tiff_bits,
    "PPM": ppm_bits,
    **dict.fromkeys(("JPEG", "MPO", "WEBP", "GIF", "BMP"), eight_bits),
}
# Width, height and largest number, after white space or comments.
PPM_NUMBERS = re.compile(rb"P[36](?:(?:\s|#[^\n]*\n)+(\d+)){3}")


def over_black(image: Any) -> Any:
    """Composite an image with transparency over black, so that the colours of hidden pixels do not show."""
    import PIL.Image

    colours = image.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, (0, 0, 0, 255)), colours)


def crop_and_resize(
    image: np.ndarray, wanted: tuple[int, int], crop_size: int | None, resample: str = "bicubic"
) -> np.ndarray:
    """Centre-crop an image to the wanted aspect ratio, resize it with Pillow and round to the nearest level.

    The settings for the data of Song et al. 2021 are: for CelebA, crop_size=140 and bilinear; for LSUN, the largest
    square and bicubic; for FFHQ and CelebA-HQ at 256 pixels, means of 4x4 pixels of the large image (box). Their code
    truncates LSUN to whole levels, which is half a level darker, and does not round CelebA.

    Args:
        image: uint8 (h, w, c), c = 1 or 3.
        wanted: height and width of the result.
        crop_size: shorter side of the crop; 0 or None for the largest crop.
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
    """Height and width of the crop that is resized: of the wanted aspect ratio, to the nearest pixel."""
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
