"""Images as one picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

GRID_PIXELS = (
    640  # small images are enlarged, each pixel to a square, until the grid is about this wide
)


def image_grid(levels: np.ndarray, num_levels: int) -> Image.Image:
    """Integer images (n, h, w, c) side by side, row by row, with a line of background between them."""
    n, height, width, channels = levels.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    shades = np.round(levels.astype(np.float64) * 255 / (num_levels - 1)).astype(np.uint8)
    zoom = max(1, round(GRID_PIXELS / (columns * width)))
    shades = shades.repeat(zoom, axis=1).repeat(zoom, axis=2)
    gap = max(1, zoom // 4)
    cell_height, cell_width = height * zoom + gap, width * zoom + gap
    canvas = np.full((rows * cell_height + gap, columns * cell_width + gap, channels), 40, np.uint8)
    for i, shade in enumerate(shades):
        top, left = gap + i // columns * cell_height, gap + i % columns * cell_width
        canvas[top : top + height * zoom, left : left + width * zoom] = shade
    if channels == 1:
        return Image.fromarray(canvas[..., 0])
    return Image.fromarray(canvas[..., :3])


def save_grid(path: Path, levels: np.ndarray, num_levels: int) -> None:
    """Write the picture in one piece: a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.png")
    image_grid(levels, num_levels).save(partial)
    partial.replace(path)
