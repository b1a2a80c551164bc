"""Dequantisers: pytrees that are called, `dequantizer(images, keys) -> (u, log_q)`."""

from __future__ import annotations

from typing import Protocol

import flax.struct
import jax
import jax.numpy as jnp
from jax import Array


class Dequantizer(Protocol):
    """u ~ q(u|v), and how likely that was.

    An image's u and log_q are functions of that image and its key, in whatever batch they are asked for.
    """

    def __call__(self, images: Array, keys: Array) -> tuple[Array, Array]:
        """Noise for images (b, h, w, c), integer levels, with a key (b,) for each.

        Returns:
          u, float32 (b, h, w, c) in [0, 1], in units of a level, to be added by data/scaling.dequantize, which keeps it
          off the cell's edges; and ln q(u|v) in nats, (b,).
        """
        ...


@flax.struct.dataclass
class UniformDequantizer:
    """u uniform on [0, 1), log_q = 0 (Theis et al. 2016, Sec. 3.1)."""

    def __call__(self, images: Array, keys: Array) -> tuple[Array, Array]:
        return uniform(images, keys), jnp.zeros(images.shape[0])


def uniform(images: Array, keys: Array) -> Array:
    """Uniform numbers in [0, 1) of the shape of the images (b, ...), from the key of each."""
    return jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)
