"""Grids of images as one picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from score_sde.files import write_whole

GRID_PIXELS = 640  # small images are enlarged until the grid is about this wide
BACKGROUND = 40


def shades(levels: np.ndarray, num_levels: int) -> np.ndarray:
    """Levels 0 ... num_levels - 1 as 8-bit shades from black to white."""
    return np.round(levels.astype(np.float64) * 255 / (num_levels - 1)).astype(np.uint8)


def levels_of(shades_8_bit: np.ndarray, num_levels: int) -> np.ndarray:
    """Convert 8-bit shades (uint8) to levels, the inverse of `shades`.

    If num_levels divides 256 the level is floor(v num_levels / 256), as when datasets are quantized; otherwise the nearest level.
    """
    if 256 % num_levels == 0:
        return shades_8_bit // (256 // num_levels) if num_levels < 256 else shades_8_bit
    return np.round(shades_8_bit.astype(np.float64) * (num_levels - 1) / 255).astype(np.uint8)


def pillow_image(image: np.ndarray) -> Image.Image:
    """A Pillow image of 8-bit shades (h, w, c), with c = 1 or 3."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def image_grid(levels: np.ndarray, num_levels: int, columns: int = 0) -> Image.Image:
    """Arrange integer images (n, h, w, c) in a grid on a dark background, row by row.

    Two channels are shown as red and green; of more than three the first three are shown. Without `columns` the grid is as square as
    possible. Small images are enlarged by an integer factor with bicubic interpolation, since an 8x8 digit of
    large squares is hard to read; the exact pixels are in the arrays saved with the picture.
    """
    if levels.shape[-1] == 2:
        levels = np.concatenate([levels, np.zeros_like(levels[..., :1])], axis=-1)
    levels = levels[..., :3]
    n, height, width, channels = levels.shape
    columns = columns or min(n, math.ceil(math.sqrt(n * height / width)))
    rows = math.ceil(n / columns)
    zoom = max(1, round(GRID_PIXELS / (columns * width)))
    gap = max(1, zoom // 4)
    cell_height, cell_width = height * zoom + gap, width * zoom + gap
    mode = "L" if channels == 1 else "RGB"
    size = (columns * cell_width + gap, rows * cell_height + gap)
    canvas = Image.new(mode, size, (BACKGROUND,) * channels if channels > 1 else BACKGROUND)
    for i, image in enumerate(shades(levels, num_levels)):
        tile = pillow_image(image).resize((width * zoom, height * zoom), Image.Resampling.BICUBIC)
        canvas.paste(tile, (gap + i % columns * cell_width, gap + i // columns * cell_height))
    return canvas


def save_grid(path: Path, levels: np.ndarray, num_levels: int, columns: int = 0) -> Image.Image:
    """Write the grid to a .png file atomically, so that no reader sees half of it, and return it."""
    picture = image_grid(levels, num_levels, columns)
    write_whole(path, lambda file: picture.save(file, format="PNG"), durable=False)
    return picture
