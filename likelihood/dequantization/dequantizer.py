"""Dequantizers: callable pytrees `dequantizer(images, keys) -> (u, log_q)`."""

from __future__ import annotations

from typing import Protocol

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Num

from score_sde.shapes import Array, Images, Keys, PerImage, Pixels, Stored


class Dequantizer(Protocol):
    """Draws dequantization noise u ~ q(u|v) together with its log-density.

    u and log_q of an image depend only on that image and its key, not on the batch.
    """

    def __call__(self, images: Stored, keys: Keys) -> tuple[Pixels, PerImage]:
        """Draw the noise of images of integer levels, with one key per image.

        Returns:
          u, float32 in [0, 1] in units of a level, to be added by data/scaling.dequantize, which keeps the result
          off the edges of the cell; and ln q(u|v) in nats (b,).
        """


@flax.struct.dataclass
class UniformDequantizer:
    """Uniform dequantization: u uniform on [0, 1), log_q = 0 (Theis et al. 2016, Sec. 3.1)."""

    def __call__(self, images: Stored, keys: Keys) -> tuple[Pixels, PerImage]:
        return uniform(images, keys), jnp.zeros(images.shape[0])


def uniform(images: Num[Array, "b *dims"], keys: Keys) -> Images:
    """Uniform numbers in [0, 1) of the shape of the images, drawn from each image's key."""
    return jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)
