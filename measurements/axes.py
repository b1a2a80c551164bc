"""Operators with one matrix per axis of an image: A = R (x) C (x) K on rows, columns and channels.

The singular values and vectors of a Kronecker product are products of those of its factors (van Loan 2000, Sec. 1.3), so no
matrix larger than the side of an image is ever decomposed.
"""

from __future__ import annotations

from typing import Any, Self

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from score_sde.errors import ConfigError
from score_sde.measurements.linear import Spectral, above_rounding
from score_sde.measurements.resampling import bicubic_rows, box_rows, gaussian_rows
from score_sde.shapes import Array, Images, Measured


@flax.struct.dataclass
class Factor:
    """A matrix with its singular value decomposition."""

    matrix: Float[Array, "m n"]
    left: Float[Array, "n m"]
    """U^T, padded with rows of zeros beyond the m-th."""
    values: Float[Array, "n"]
    """Singular values, including those that are zero up to rounding: see linear.above_rounding."""
    right: Float[Array, "n n"]
    """V^T."""

    @classmethod
    def of(cls, matrix: Any) -> Self:
        """Decompose a matrix, in float64.

        Raises:
          ConfigError: not a matrix of finite numbers.
        """
        matrix = np.asarray(matrix, np.float64)
        if matrix.ndim != 2 or not np.all(np.isfinite(matrix)):
            raise ConfigError(
                f"a measurement with an array of shape {matrix.shape}: expected a matrix (m, n) of finite numbers"
            )
        m, n = matrix.shape
        u, s, vt = np.linalg.svd(matrix, full_matrices=True)
        rank = min(m, n)
        left, values = np.zeros((n, m)), np.zeros(n)
        left[:rank], values[:rank] = u.T[:rank], s
        return cls(*map(jnp.asarray, (matrix, left, values, vt)))


def along(matrix: Array, x: Array, axis: int) -> Array:
    """Multiply the lines of pixels along an axis by the matrix."""
    moved = jnp.tensordot(matrix, x, axes=(1, axis), precision="highest")
    return jnp.moveaxis(moved, 0, axis)


@flax.struct.dataclass
class Axes(Spectral):
    """An operator with one matrix per axis; None leaves an axis unchanged."""

    factors: tuple[Factor | None, ...]
    shape: tuple[int, ...] = flax.struct.field(pytree_node=False)

    @classmethod
    def of_matrices(cls, matrices: tuple[Any, ...], shape: tuple[int, ...]) -> Self:
        """Build the operator from one matrix (m, n), or None, for each axis of n pixels.

        Raises:
          ConfigError: the number of matrices is not that of axes, or a width is not the length of its axis.
        """
        widths = tuple(
            n if matrix is None else np.shape(matrix)[-1]
            for matrix, n in zip(matrices, shape, strict=False)
        )
        if len(matrices) != len(shape) or widths != tuple(shape):
            raise ConfigError(
                f"{len(matrices)} matrices for axes of {widths} pixels, of images of shape {tuple(shape)}: expected one for each "
                "axis, (m, n) for n pixels, or None"
            )
        factors = tuple(None if matrix is None else Factor.of(matrix) for matrix in matrices)
        return cls(factors, tuple(shape))

    def _with(self, part: str, x: Array) -> Array:
        for axis, factor in enumerate(self.factors, start=1):
            if factor is not None:
                x = along(getattr(factor, part), x, axis)
        return x

    def apply(self, x: Images) -> Measured:
        return self._with("matrix", x)

    @property
    def singular_values(self) -> Float[Array, "*dims"]:
        s = jnp.ones(self.shape)
        for axis, factor in enumerate(self.factors):
            if factor is not None:
                ones = [1] * len(self.shape)
                ones[axis] = -1
                s = s * factor.values.reshape(ones)
        return above_rounding(s)

    def modes(self, x: Images) -> Images:
        return self._with("right", x)

    def image(self, modes: Images) -> Images:
        for axis, factor in enumerate(self.factors, start=1):
            if factor is not None:
                modes = along(factor.right.T, modes, axis)
        return modes

    def measured_modes(self, y: Measured) -> Images:
        return self._with("left", y)


def grey(shape: tuple[int, ...], weights: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3)) -> Axes:
    """A weighted sum of the channels, the measurement of colorization. Rec. 601 uses the weights (0.299, 0.587, 0.114).

    The modes are an orthogonal basis of color space whose first vector has the direction of the weights, as the matrix of Song et
    al. 2021, App. I.3.

    Raises:
      ConfigError: the number of weights is not that of channels.
    """
    return Axes.of_matrices((*[None] * (len(shape) - 1), [weights]), shape)


def box_mean(shape: tuple[int, ...], factor: int) -> Axes:
    """Means of blocks of factor x factor pixels, the measurement of super-resolution.

    Raises:
      ConfigError: the factor does not divide a side.
    """
    return _on_sides(shape, lambda n: box_rows(n, factor))


def bicubic(shape: tuple[int, ...], factor: int) -> Axes:
    """Bicubic downsampling by a factor as in Pillow, but without rounding.

    Raises:
      ConfigError: the factor does not divide a side.
    """
    return _on_sides(shape, lambda n: bicubic_rows(n, factor))


def gaussian_blur(shape: tuple[int, ...], std: float, edge: str = "mirrored") -> Axes:
    """A Gaussian blur with a standard deviation of `std` pixels, cut off at 4 std; for `edge` see resampling.EDGES.

    Raises:
      ConfigError: std <= 0 or an unknown edge.
    """
    return _on_sides(shape, lambda n: gaussian_rows(n, std, edge))


def _on_sides(shape: tuple[int, ...], rows: Any) -> Axes:
    """The same matrix on every axis but the last, that of channels; for a signal, on its only axis."""
    sides = shape[:-1] or shape
    rest: list[Any] = [None] * (len(shape) - len(sides))
    return Axes.of_matrices((*[rows(n) for n in sides], *rest), shape)
