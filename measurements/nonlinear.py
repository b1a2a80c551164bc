"""Nonlinear measurements, for methods that need only the derivative of A: DPS, TDS, DAPS by Langevin steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import flax.struct
import jax
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.measurements.fourier import sides
from score_sde.measurements.linear import Operator
from score_sde.shapes import Images, Measured


@flax.struct.dataclass
class Magnitudes(Operator):
    """Phase retrieval: moduli of the orthonormal Fourier coefficients of each channel, zero-padded by a factor `oversampling`.

    Translations within the padded frame, rotation by 180 degrees and a change of sign leave them unchanged, so the posterior has
    several modes unless the prior excludes them.
    """

    shape: tuple[int, ...] = flax.struct.field(pytree_node=False)
    oversampling: int = flax.struct.field(pytree_node=False, default=2)

    @classmethod
    def of(cls, shape: tuple[int, ...], oversampling: int = 2) -> Self:
        """Build the operator; ConfigError if oversampling is less than 1."""
        if oversampling < 1:
            raise ConfigError(f"magnitudes with oversampling={oversampling}: expected 1 or more")
        return cls(tuple(shape), oversampling)

    def apply(self, x: Images) -> Measured:
        over = sides(self.shape)
        longer = tuple(self.oversampling * n for n in over)
        axes = tuple(range(1, 1 + len(over)))
        return jnp.abs(jnp.fft.fftn(x, s=longer, axes=axes, norm="ortho"))


@flax.struct.dataclass
class Rounded(Operator):
    """Quantization: values rounded to multiples of a step size.

    The true derivative is 0 almost everywhere and useless for guidance, so the derivative of the identity is used in its place.
    """

    shape: tuple[int, ...] = flax.struct.field(pytree_node=False)
    spacing: float = flax.struct.field(pytree_node=False)

    @classmethod
    def of(cls, shape: tuple[int, ...], spacing: float) -> Self:
        """Build the operator; ConfigError if the spacing is not positive."""
        if not 0 < spacing < float("inf"):
            raise ConfigError(f"rounding to multiples of {spacing}: expected a positive number")
        return cls(tuple(shape), spacing)

    def apply(self, x: Images) -> Measured:
        off = jnp.round(x / self.spacing) * self.spacing - x
        return x + jax.lax.stop_gradient(off)


@flax.struct.dataclass
class Function(Operator):
    """Any JAX function of one image."""

    function: Callable[[Any], Any] = flax.struct.field(pytree_node=False)
    shape: tuple[int, ...] = flax.struct.field(pytree_node=False)

    def apply(self, x: Images) -> Measured:
        return jax.vmap(self.function)(x)
