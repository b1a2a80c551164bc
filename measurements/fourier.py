"""Periodic convolutions and frequencies, by the orthonormal Hartley transform, Re F x - Im F x.

The transform is real, symmetric and its own inverse (Bracewell 1983). A periodic convolution rotates each pair of frequencies k and
-k by the phase of its transfer function and scales it by the modulus. The moduli are therefore its singular values and the Hartley
coefficients its modes, and the modes of a real image stay real.
"""

from __future__ import annotations

from typing import Any, Self

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from score_sde.errors import ConfigError
from score_sde.measurements.coordinates import Coordinates
from score_sde.measurements.linear import Spectral, above_rounding
from score_sde.shapes import Array, Images, Measured


def sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The spatial axes: all axes of an image but that of channels, or the only axis of a signal."""
    return tuple(shape[:-1] or shape)


def _axes(x: Images) -> tuple[int, ...]:
    return tuple(range(1, max(x.ndim - 1, 2)))


def hartley(x: Images) -> Images:
    """The orthonormal Hartley transform, real minus imaginary part of the Fourier transform; its own inverse."""
    transformed = jnp.fft.fftn(x, axes=_axes(x), norm="ortho")
    return transformed.real - transformed.imag


@flax.struct.dataclass
class Frequencies(Coordinates):
    """A subset of the frequencies of an image, each together with that of opposite sign.

    A Fourier coefficient and its conjugate, a +- bi, are measured as the real numbers a - b and a + b.
    """

    @classmethod
    def of_mask(cls, mask: Any, shape: tuple[int, ...]) -> Self:
        """The frequencies at which a mask is True, in the order of `numpy.fft`, with frequency 0 first.

        Raises:
          ConfigError: as for Coordinates.of_mask, and for a mask that contains a frequency k but not -k.
        """
        found = super().of_mask(mask, shape)
        mask = np.asarray(mask)
        over = tuple(range(len(sides(shape))))
        mirrored = np.roll(np.flip(mask, over), 1, over)
        if not np.array_equal(mask, mirrored):
            raise ConfigError(
                f"a mask of frequencies has k without -k at {tuple(int(i) for i in np.argwhere(mask != mirrored)[0])}: a real image has "
                "both or neither; set both"
            )
        return found

    def modes(self, x: Images) -> Images:
        return hartley(x)

    def image(self, modes: Images) -> Images:
        return hartley(modes)


@flax.struct.dataclass
class Convolution(Spectral):
    """A periodic convolution, the same for each channel."""

    transfer: Complex[Array, "*sides"]
    shape: tuple[int, ...] = flax.struct.field(pytree_node=False)

    @classmethod
    def by_kernel(cls, kernel: Any, shape: tuple[int, ...]) -> Self:
        """Build the convolution from a kernel with odd sides, centered at 0.

        Moduli of the transfer function that are zero up to rounding are set to 0.

        Raises:
          ConfigError: a kernel with an even side, larger than the image, or with another number of axes.
        """
        kernel, over = np.asarray(kernel, np.float64), sides(shape)
        fits = kernel.ndim == len(over) and all(
            k % 2 == 1 and k <= n for k, n in zip(kernel.shape, over, strict=True)
        )
        if not (fits and np.all(np.isfinite(kernel))):
            raise ConfigError(
                f"a kernel of shape {kernel.shape} for images of shape {tuple(shape)}: expected finite numbers with odd sides no longer "
                f"than {over}"
            )
        whole = np.zeros(over)
        whole[tuple(slice(0, k) for k in kernel.shape)] = kernel
        middle = tuple(-(k // 2) for k in kernel.shape)
        transfer = np.fft.fftn(np.roll(whole, middle, tuple(range(len(over)))))
        modulus = np.abs(transfer)
        rounding = whole.size * np.finfo(np.float64).eps * modulus.max()
        return cls(jnp.asarray(np.where(modulus > rounding, transfer, 0.0)), tuple(shape))

    def _multiplied(self, x: Images, by: Array) -> Images:
        by = by.reshape((1, *self.transfer.shape, *(1,) * (x.ndim - 1 - self.transfer.ndim)))
        over = _axes(x)
        return jnp.fft.ifftn(by * jnp.fft.fftn(x, axes=over), axes=over).real

    def apply(self, x: Images) -> Measured:
        return self._multiplied(x, self.transfer)

    @property
    def singular_values(self) -> Float[Array, "*dims"]:
        modulus = above_rounding(jnp.abs(self.transfer))
        return jnp.broadcast_to(
            modulus.reshape(modulus.shape + (1,) * (len(self.shape) - modulus.ndim)), self.shape
        )

    def modes(self, x: Images) -> Images:
        return hartley(x)

    def image(self, modes: Images) -> Images:
        return hartley(modes)

    def measured_modes(self, y: Measured) -> Images:
        modulus = jnp.abs(self.transfer)
        phase = jnp.where(modulus > 0, self.transfer / jnp.where(modulus > 0, modulus, 1.0), 1.0)
        return hartley(self._multiplied(y, jnp.conj(phase)))
