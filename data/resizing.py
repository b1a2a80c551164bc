"""Decoding stored images, and centre crop and resize for datasets whose images are larger or differ in size."""

from __future__ import annotations

import io

import numpy as np

from data.builders import DatasetError


def decode_image(encoded: bytes, num_channels: int) -> np.ndarray:
    """A PNG or JPEG as uint8 (h, w, num_channels).

    Always by Pillow. TFDS would take OpenCV where it is installed, whose JPEGs differ in the last level, so that
    the data would depend on the environment; neither handles the grey and CMYK files in some colour datasets.
    """
    import PIL.Image

    with PIL.Image.open(io.BytesIO(encoded)) as image:
        pixels = np.asarray(image.convert("L" if num_channels == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], num_channels)


def crop_and_resize(image: np.ndarray, image_size: int, crop_size: int | None) -> np.ndarray:
    """The central square of an image, resized.

    Bicubic with Pillow, which widens the filter when it shrinks an image (no aliasing) and rounds to the
    nearest level.

    Args:
        image: uint8 (h, w, c), c = 1 or 3.
        image_size: side of the result.
        crop_size: side of the square; 0 or None for the largest. 140 for CelebA as in Song et al. 2021.

    Returns:
        uint8 (image_size, image_size, c).
    """
    import PIL.Image

    height, width, num_channels = image.shape
    side = crop_size or min(height, width)
    if side > min(height, width):
        raise DatasetError(
            f"data.crop_size={side} is larger than an image of {height}x{width}; 0 takes the largest square"
        )
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    if side == image_size:
        return square
    # Pillow has no third axis for grey images.
    pillow = PIL.Image.fromarray(square[..., 0] if num_channels == 1 else square)
    resized = pillow.resize((image_size, image_size), PIL.Image.Resampling.BICUBIC)
    return np.asarray(resized).reshape(image_size, image_size, num_channels)
