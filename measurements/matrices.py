"""Operators given by any matrix, or by any linear function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from score_sde.errors import ConfigError
from score_sde.measurements.axes import Factor, along
from score_sde.measurements.linear import Linear, Spectral, above_rounding
from score_sde.shapes import Array, Images, Measured


@flax.struct.dataclass
class Matrix(Spectral):
    """A matrix acting on flattened images. Its decomposition costs O(d^3) once, for images of d dimensions."""

    factor: Factor
    shape: tuple[int, ...] = flax.struct.field(pytree_node=False)

    @classmethod
    def of(cls, matrix: Any, shape: tuple[int, ...]) -> Self:
        """Build the operator from a matrix (m, d).

        Raises:
          ConfigError: the width of the matrix is not the dimension of an image.
        """
        width = int(np.prod(shape))
        if np.ndim(matrix) != 2 or np.shape(matrix)[1] != width:
            raise ConfigError(
                f"a matrix of shape {np.shape(matrix)} for images of shape {tuple(shape)}: expected (m, {width})"
            )
        return cls(Factor.of(matrix), tuple(shape))

    def apply(self, x: Images) -> Measured:
        return along(self.factor.matrix, x.reshape(len(x), -1), 1)

    @property
    def singular_values(self) -> Float[Array, "*dims"]:
        return above_rounding(self.factor.values).reshape(self.shape)

    def modes(self, x: Images) -> Images:
        return along(self.factor.right, x.reshape(len(x), -1), 1).reshape(x.shape)

    def image(self, modes: Images) -> Images:
        return along(self.factor.right.T, modes.reshape(len(modes), -1), 1).reshape(modes.shape)

    def measured_modes(self, y: Measured) -> Images:
        return along(self.factor.left, y, 1).reshape(len(y), *self.shape)


@flax.struct.dataclass
class LinearFunction(Linear):
    """A linear function of one image, transposed by JAX."""

    function: Callable[[Any], Any] = flax.struct.field(pytree_node=False)
    shape: tuple[int, ...] = flax.struct.field(pytree_node=False)

    @classmethod
    def of(cls, function: Callable[[Any], Any], shape: tuple[int, ...]) -> Self:
        """Build the operator from a JAX function of one image of this shape.

        Raises:
          ConfigError: the function is not linear, as tested by JAX's transposition and on two random images.
        """
        made = cls(function, tuple(shape))
        try:
            y = made(jnp.zeros((1, *shape)))
            made.transpose(y)
        except (NotImplementedError, TypeError, AssertionError, ValueError) as error:
            raise ConfigError(
                f"a measurement by {function!r} of images of shape {tuple(shape)} cannot be transposed by JAX, so it is not linear: "
                f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
            ) from error
        rng = np.random.default_rng(0)
        x, z = (jnp.asarray(rng.standard_normal((1, *shape)), y.dtype) for _ in range(2))
        of_both, apart = made(x - 2.0 * z), made(x) - 2.0 * made(z)
        rounding = 100 * jnp.finfo(y.dtype).eps * np.sqrt(x.size)
        off = float(jnp.max(jnp.abs(of_both - apart)))
        if not off <= rounding * float(jnp.max(jnp.abs(of_both))):
            raise ConfigError(
                f"a measurement by {function!r}: f(x - 2 z) and f(x) - 2 f(z) differ by {off:.3g}; expected a linear function"
            )
        return made

    def apply(self, x: Images) -> Measured:
        return jax.vmap(self.function)(x)
