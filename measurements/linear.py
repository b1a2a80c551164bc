"""Measurement operators y = A x: general, linear, and linear with known singular values.

A subclass defines A; its transpose, or that of its derivative, is derived by JAX. Where the singular value decomposition A = U S V^T is
given by a few fast functions, the pseudo-inverse and its regularized versions follow without a matrix over all pixels.
"""

from __future__ import annotations

import abc
import math

import jax
import jax.numpy as jnp
from jaxtyping import Float

from score_sde.shapes import Array, Images, Measured, check_shape

HIDDEN = 100.0
"""In units of eps: above this, modes are recovered from a noiseless y to about one hundredth of the size of the images."""


class Operator(abc.ABC):
    """An operator A on images of a fixed shape, linear or not. A pytree, so that it can be an argument of jitted functions."""

    shape: tuple[int, ...]
    """Shape of an image."""

    @abc.abstractmethod
    def apply(self, x: Images) -> Measured:
        """A x, (b, *shape) -> (b, *measured_shape)."""

    def __call__(self, x: Images) -> Measured:
        """A x, (b, *shape) -> (b, *measured_shape).

        Raises:
          UserError: images of another shape.
        """
        check_shape("what is measured", x.shape[1:], self.shape)
        return self.apply(x)

    @property
    def measured_shape(self) -> tuple[int, ...]:
        """Shape of the measurement of one image."""
        one = jax.ShapeDtypeStruct((1, *self.shape), jnp.result_type(float))
        return jax.eval_shape(self.apply, one).shape[1:]

    def pullback(self, x: Images, v: Measured) -> Images:
        """The transposed derivative of A at x, times v."""
        return jax.vjp(self.apply, x)[1](v)[0]


class Linear(Operator):
    """A linear operator, which is its own derivative."""

    def pullback(self, x: Images, v: Measured) -> Images:
        return self.transpose(v)

    def transpose(self, y: Measured) -> Images:
        """A^T y, (b, *measured_shape) -> (b, *shape)."""
        like = jax.ShapeDtypeStruct((len(y), *self.shape), y.dtype)
        return jax.linear_transpose(self.apply, like)(y)[0]

    def matrix(self) -> Float[Array, "m d"]:
        """A as a matrix on flattened images. Measures a batch of d images, so only for small d."""
        d = math.prod(self.shape)
        columns = self(jnp.eye(d).reshape(d, *self.shape))
        return columns.reshape(d, -1).T


def above_rounding(s: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    """Set singular values below `HIDDEN` times eps, relative to the largest, to 0.

    y is rounded to its precision, so a mode is recovered with an error of about eps / s: what is recovered of such a mode would be
    rounding error. Treating the mode as unmeasured changes A x by at most s.
    """
    return jnp.where(s > HIDDEN * jnp.finfo(s.dtype).eps * jnp.max(s), s, 0.0)


class Spectral(Linear):
    """A = U S V^T with V orthogonal. The modes V^T x have the shape of an image; unmeasured modes have s = 0.

    Each method costs one application of the subclass's `modes` or its inverse.
    """

    @property
    @abc.abstractmethod
    def singular_values(self) -> Float[Array, "*dims"]:
        """s >= 0 of each mode, unordered; exactly 0 where A does not measure the mode, or only below rounding."""

    @abc.abstractmethod
    def modes(self, x: Images) -> Images:
        """V^T x."""

    @abc.abstractmethod
    def image(self, modes: Images) -> Images:
        """V times modes."""

    @abc.abstractmethod
    def measured_modes(self, y: Measured) -> Images:
        """U^T y for the measured modes; any finite value where s = 0."""

    def regularized(self, y: Measured, noise: Array | float, prior: Array | float) -> Images:
        """A^T (noise I + prior A A^T)^{-1} y, which is V s / (noise + prior s^2) U^T y.

        Args:
          noise, prior: variances >= 0, scalars or one per image with singleton axes (b, 1, ...). With noise = 0 the result is
            the pseudo-inverse divided by `prior`; unmeasured modes are 0.
        """
        s = self.singular_values[None]
        gain = jnp.where(s > 0, s / jnp.where(s > 0, noise + prior * jnp.square(s), 1.0), 0.0)
        return self.image(gain * self.measured_modes(y))

    def pseudo_inverse(self, y: Measured) -> Images:
        """A^+ y, the least-squares solution of A x = y with the smallest norm."""
        return self.regularized(y, 0.0, 1.0)
