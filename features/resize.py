"""Bilinear resizing as TensorFlow 1 did it inside the graph that FID was defined by.

Row i of the result is read at row i * (rows before / rows after) of the image: no half pixel is added to either index, so that an enlarged
picture lies up to half a pixel of the small one too far to the top left, and nothing is smoothed before an image is made smaller. Parmar et al.
(2022) show how much that moves FID, but figures are comparable only where it is done alike.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from score_sde.shapes import Array

LevelsRGB = UInt8[Array, "b h w 3"]


def neighbours(before: int, after: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `after` places of a line: the two of `before` places that it is between, and how far from the first, in [0, 1).

    The positions are products in float32, as they were then: from float64 ones the tests' images differ by up to 5e-4
    of a level.
    """
    position = np.arange(after, dtype=np.float32) * np.float32(before / after)
    lower = np.floor(position).astype(np.int32)
    return lower, np.minimum(lower + 1, before - 1), position - lower.astype(np.float32)


def resized(images: LevelsRGB, side: int) -> Float[Array, "b {side} {side} 3"]:
    """Levels 0..255 of images of any size, at side x side, in float32 between the levels."""
    x = jnp.asarray(images).astype(jnp.float32)
    left, right, across = neighbours(x.shape[2], side)
    x = x[:, :, left] + (x[:, :, right] - x[:, :, left]) * across[None, None, :, None]
    upper, lower, down = neighbours(x.shape[1], side)
    return x[:, upper] + (x[:, lower] - x[:, upper]) * down[None, :, None, None]
