"""Dequantizers: pytrees that are called, `dequantizer(images, keys) -> (u, log_q)`."""

from __future__ import annotations

from typing import Protocol

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Num

from score_sde.shapes import Array, Images, Keys, PerImage, Pixels, Stored


class Dequantizer(Protocol):
    """u ~ q(u|v), and how likely that was.

    An image's u and log_q are functions of that image and its key, in whatever batch they are asked for.
    """

    def __call__(self, images: Stored, keys: Keys) -> tuple[Pixels, PerImage]:
        """Noise for images of integer levels, with a key for each.

        Returns:
          u, float32 in [0, 1], in units of a level, to be added by data/scaling.dequantize, which keeps it
          off the cell's edges; and ln q(u|v) in nats.
        """


@flax.struct.dataclass
class UniformDequantizer:
    """u uniform on [0, 1), log_q = 0 (Theis et al. 2016, Sec. 3.1)."""

    def __call__(self, images: Stored, keys: Keys) -> tuple[Pixels, PerImage]:
        return uniform(images, keys), jnp.zeros(images.shape[0])


def uniform(images: Num[Array, "b *dims"], keys: Keys) -> Images:
    """Uniform numbers in [0, 1) of the shape of the images, from the key of each."""
    return jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)
