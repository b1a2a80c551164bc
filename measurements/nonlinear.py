"""Measurements that are not linear, for the methods that ask no more of A than its derivative: DPS, TDS, DAPS by Langevin steps."""

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
    """Moduli of the orthonormal Fourier coefficients of each channel, in a frame of zeros `oversampling` times as long: phase retrieval.

    An image, and with it those that are moved within the frame, turned by half a turn or of the other sign, have the same: their
    posterior has as many modes as the prior lets them.
    """

    shape: tuple[int, ...] = flax.struct.field(pytree_node=False)
    oversampling: int = flax.struct.field(pytree_node=False, default=2)

    @classmethod
    def of(cls, shape: tuple[int, ...], oversampling: int = 2) -> Self:
        """Raises ConfigError where oversampling is less than 1."""
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
    """Numbers rounded to multiples of a step, as a quantised recording has them.

    Its derivative is 0 almost everywhere and leads nowhere; what is given for it is that of the identity.
    """

    shape: tuple[int, ...] = flax.struct.field(pytree_node=False)
    spacing: float = flax.struct.field(pytree_node=False)

    @classmethod
    def of(cls, shape: tuple[int, ...], spacing: float) -> Self:
        """Raises ConfigError where the spacing is not positive."""
        if not 0 < spacing < float("inf"):
            raise ConfigError(f"rounding to multiples of {spacing}: expected a positive number")
        return cls(tuple(shape), spacing)

    def apply(self, x: Images) -> Measured:
        off = jnp.round(x / self.spacing) * self.spacing - x
        return x + jax.lax.stop_gradient(off)


@flax.struct.dataclass
class Function(Operator):
    """A user's function of one image, in JAX."""

    function: Callable[[Any], Any] = flax.struct.field(pytree_node=False)
    shape: tuple[int, ...] = flax.struct.field(pytree_node=False)

    def apply(self, x: Images) -> Measured:
        return jax.vmap(self.function)(x)
