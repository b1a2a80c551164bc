"""Magnitude-preserving layers (Karras et al. 2024b, App. B).

They map activations of mean square 1 to activations of mean square 1. Weights are normalized when used, so their own
magnitude has no effect, and training may normalize them between updates: `forced`.
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

EPSILON = 1e-4  # added to a root mean square
SILU_RMS = 0.596  # root mean square of SiLU(z), z ~ N(0, 1)


def unit(x: Array, axes: tuple[int, ...]) -> Array:
    """Normalize x to mean square 1 over `axes`."""
    accurate = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    size = jnp.sqrt(jnp.mean(jnp.square(accurate), axis=axes, keepdims=True))
    return (accurate / (EPSILON + size)).astype(x.dtype)


def unit_weight(kernel: Array) -> Array:
    """Normalize a kernel to mean square 1 over the weights of each output (the last axis)."""
    return unit(kernel, tuple(range(kernel.ndim - 1)))


def forced(params: Any) -> Any:
    """Return the parameters with all kernels normalized by `unit_weight` (forced weight normalization)."""

    def of(path: Any, leaf: Array) -> Array:
        return unit_weight(leaf) if path[-1].key == "kernel" else leaf

    return jax.tree_util.tree_map_with_path(of, params)


def mp_silu(x: Array) -> Array:
    """SiLU, divided by its root mean square for standard normal inputs."""
    return nn.silu(x) / SILU_RMS


def mp_sum(a: Array, b: Array, t: float) -> Array:
    """Magnitude-preserving sum of a and b, with weight t for b."""
    return ((1.0 - t) * a + t * b) / math.hypot(1.0 - t, t)


def mp_cat(a: Array, b: Array, t: float) -> Array:
    """Magnitude-preserving concatenation of a and b, with weight t for b, whatever their numbers of channels."""
    of_a, of_b = a.shape[-1], b.shape[-1]
    size = math.sqrt((of_a + of_b) / ((1.0 - t) ** 2 + t**2))
    return jnp.concatenate(
        [a * (size * (1.0 - t) / math.sqrt(of_a)), b * (size * t / math.sqrt(of_b))], axis=-1
    )


class MPLayer(nn.Module):
    """A convolution (for size 0 a linear map) without bias, by normalized weights divided by sqrt(fan_in)."""

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

    They are parameters, so that checkpoints contain them, but no gradient reaches them.
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
