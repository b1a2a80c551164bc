"""Centre crop and resize of integer images, for datasets whose images are larger or differ in size."""

from __future__ import annotations

import numpy as np


def crop_and_resize(image: np.ndarray, image_size: int, crop_size: int | None) -> np.ndarray:
    """The central square of an image, resized.

    Bicubic with Pillow, which widens the filter when it shrinks an image (no aliasing) and rounds to the
    nearest level.

    Args:
        image: uint8 (h, w, c), c = 1 or 3.
        image_size: side of the result.
        crop_size: side of the square; None for the largest. 140 for CelebA as in Song et al. 2021.

    Returns:
        uint8 (image_size, image_size, c).
    """
    import PIL.Image

    height, width, num_channels = image.shape
    side = min(height, width) if crop_size is None else crop_size
    if side > min(height, width):
        raise ValueError(f"crop_size={side} is larger than an image of {height}x{width}")
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    if side == image_size:
        return square
    # Pillow has no third axis for grey images.
    pillow = PIL.Image.fromarray(square[..., 0] if num_channels == 1 else square)
    resized = pillow.resize((image_size, image_size), PIL.Image.Resampling.BICUBIC)
    return np.asarray(resized).reshape(image_size, image_size, num_channels)
