"""Layers that preserve magnitudes (Karras et al. 2024b, App. B).

From activations and weights of mean square 1 they make activations of mean square 1. A weight's size says nothing of what its layer does, so training may set it to 1 after each update: `forced`.
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Float

from score_sde.shapes import Array, PerImage

EPSILON = 1e-4  # beside a root mean square
SILU_STD = 0.596  # of SiLU(z), z ~ N(0, 1)


def unit(x: Array, axes: tuple[int, ...]) -> Array:
    """x with mean square 1 over these axes."""
    accurate = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    size = jnp.sqrt(jnp.mean(jnp.square(accurate), axis=axes, keepdims=True))
    return (accurate / (EPSILON + size)).astype(x.dtype)


def unit_weight(kernel: Array) -> Array:
    """A kernel whose weights of each output, the last axis, have mean square 1."""
    return unit(kernel, tuple(range(kernel.ndim - 1)))


def forced(params: Any) -> Any:
    """The parameters with unit weights in place of the kernels (forced weight normalization)."""

    def of(path: Any, leaf: Array) -> Array:
        return unit_weight(leaf) if path[-1].key == "kernel" else leaf

    return jax.tree_util.tree_map_with_path(of, params)


def mp_silu(x: Array) -> Array:
    """SiLU over its size for normal numbers."""
    return nn.silu(x) / SILU_STD


def mp_sum(a: Array, b: Array, t: float) -> Array:
    """a and b mixed, b with weight t."""
    return ((1.0 - t) * a + t * b) / math.hypot(1.0 - t, t)


def mp_cat(a: Array, b: Array, t: float) -> Array:
    """a and b side by side, of which b has the part t of the squares, whatever their channels."""
    of_a, of_b = a.shape[-1], b.shape[-1]
    size = math.sqrt((of_a + of_b) / ((1.0 - t) ** 2 + t**2))
    return jnp.concatenate(
        [a * (size * (1.0 - t) / math.sqrt(of_a)), b * (size * t / math.sqrt(of_b))], axis=-1
    )


class MPLayer(nn.Module):
    """A convolution, or with size 0 a linear map, by unit weights over the root of their number; no bias."""

    features: int
    size: int = 0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, gain: Array | float = 1.0) -> Float[Array, "... {self.features}"]:
        sides = (self.size, self.size) if self.size else ()
        shape = (*sides, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape, jnp.float32)
        inputs = math.prod(shape[:-1])
        weight = unit_weight(kernel) * (gain / math.sqrt(inputs))
        x, weight = promote_dtype(x, weight, dtype=self.dtype)
        if not self.size:
            return jnp.dot(x, weight)
        edge = self.size // 2
        pads = [(edge, edge), (edge, edge)]
        return lax.conv_general_dilated(
            x, weight, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )


class MPFourier(nn.Module):
    """sqrt(2) cos(f c + phase) at random frequencies and phases that are never trained.

    They are parameters, so that a checkpoint carries them, but no gradient reaches them.
    """

    features: int

    @nn.compact
    def __call__(self, c: PerImage) -> Float[Array, "b {self.features}"]:
        shape = (self.features,)
        freqs = self.param("freqs", nn.initializers.normal(2.0 * np.pi), shape, jnp.float32)
        phases = self.param("phases", nn.initializers.uniform(2.0 * np.pi), shape, jnp.float32)
        freqs, phases = lax.stop_gradient((freqs, phases))
        angles = c[:, None] * freqs[None, :].astype(c.dtype) + phases[None, :].astype(c.dtype)
        return math.sqrt(2.0) * jnp.cos(angles)
