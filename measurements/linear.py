"""Measurements y = A x of each image, and what follows where A is linear and from its singular values.

A subclass states A; its transpose, or that of its derivative, is derived. Where the singular value decomposition A = U S V^T is
known as a few fast functions, so are the pseudo-inverse and every regularised one, without a matrix of all pixels.
"""

from __future__ import annotations

import abc
import math

import jax
import jax.numpy as jnp
from jaxtyping import Float

from score_sde.shapes import Array, Images, Measured, check_shape

HIDDEN = 100.0
"""Roundings: modes with larger singular values are found to a hundredth or so of the images' size, in y without noise."""


class Operator(abc.ABC):
    """A, of images of one shape, linear or not. A pytree: it passes through `jit` as an argument."""

    shape: tuple[int, ...]
    """Of an image."""

    @abc.abstractmethod
    def apply(self, x: Images) -> Measured:
        """A x, (b, *shape) -> (b, *measured_shape)."""

    def __call__(self, x: Images) -> Measured:
        """A x.

        Raises:
          UserError: images of another shape.
        """
        check_shape("what is measured", x.shape[1:], self.shape)
        return self.apply(x)

    @property
    def measured_shape(self) -> tuple[int, ...]:
        """Of what is measured of an image."""
        one = jax.ShapeDtypeStruct((1, *self.shape), jnp.result_type(float))
        return jax.eval_shape(self.apply, one).shape[1:]

    def pullback(self, x: Images, v: Measured) -> Images:
        """The transpose of A's derivative at x, times v."""
        return jax.vjp(self.apply, x)[1](v)[0]


class Linear(Operator):
    """A matrix, whose derivative is itself."""

    def pullback(self, x: Images, v: Measured) -> Images:
        return self.transpose(v)

    def transpose(self, y: Measured) -> Images:
        """A^T y, (b, *measured_shape) -> (b, *shape)."""
        like = jax.ShapeDtypeStruct((len(y), *self.shape), y.dtype)
        return jax.linear_transpose(self.apply, like)(y)[0]

    def matrix(self) -> Float[Array, "m d"]:
        """A as a matrix of flattened images. Cost: d images in one batch, for small d."""
        d = math.prod(self.shape)
        columns = self(jnp.eye(d).reshape(d, *self.shape))
        return columns.reshape(d, -1).T


def above_rounding(s: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    """Singular values, 0 where they are below `HIDDEN` roundings of the largest.

    y is rounded to its own precision, and a mode would be found with an error of rounding / s: what it gives of such a mode is no
    longer of the image. To take it for unseen moves A x by no more than s.
    """
    return jnp.where(s > HIDDEN * jnp.finfo(s.dtype).eps * jnp.max(s), s, 0.0)


class Spectral(Linear):
    """A = U S V^T with V orthogonal. Modes, V^T x, have the shape of an image; those that are not measured, s = 0.

    Cost: that of the subclass's `modes` and their inverse, for each method.
    """

    @property
    @abc.abstractmethod
    def singular_values(self) -> Float[Array, "*dims"]:
        """s >= 0 of each mode, in no order; exactly 0 where A sees nothing of it, or nothing that rounding leaves."""

    @abc.abstractmethod
    def modes(self, x: Images) -> Images:
        """V^T x."""

    @abc.abstractmethod
    def image(self, modes: Images) -> Images:
        """V times modes."""

    @abc.abstractmethod
    def measured_modes(self, y: Measured) -> Images:
        """U^T y at the modes that y measures, anything finite where s = 0."""

    def regularized(self, y: Measured, noise: Array | float, prior: Array | float) -> Images:
        """A^T (noise I + prior A A^T)^{-1} y, which is V s / (noise + prior s^2) U^T y.

        Args:
          noise, prior: variances >= 0, scalars or one for each image with singleton axes (b, 1, ...). With noise = 0 it is
            the pseudo-inverse over `prior`, and modes that are not measured get nothing.
        """
        s = self.singular_values[None]
        gain = jnp.where(s > 0, s / jnp.where(s > 0, noise + prior * jnp.square(s), 1.0), 0.0)
        return self.image(gain * self.measured_modes(y))

    def pseudo_inverse(self, y: Measured) -> Images:
        """A^+ y, the smallest of the images that are nearest to y."""
        return self.regularized(y, 0.0, 1.0)
