"""Affine maps of images (translation, rotation, scaling) without aliasing.

An image of n x n pixels is extended by reflection, which gives it the period 2(n - 1), and upsampled by a factor of two, where bilinear
interpolation is accurate; after the map it is downsampled again:

    f[m] = sqrt(2) sum_i h[m - 2i] x[i],    f'(m) = f(position of m under the map),    x'[i] = sum_k h[k] f'[2i + k] / sqrt(2).

h is Daubechies' least asymmetric wavelet filter with six vanishing moments, as in the augmentation of Karras et al. 2020a (App. B) and
2022 (App. F.2). It is orthogonal to its even shifts, so that the identity and translations by whole pixels are lossless. Up- and
downsampling are products with matrices of the image's size. (Karras et al. pad with zeros beyond one image width from the edges.)
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Float

from score_sde.shapes import Array

Matrix = Float[Array, "2 2"]
Vector = Float[Array, "2"]

# Daubechies 1992, Table 6.3 (N = 6); the sum is sqrt(2).
SYM6 = np.array([
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
])  # fmt: skip
MIDDLE = float(np.arange(len(SYM6)) @ SYM6 / SYM6.sum())
"""Centre of the filter, 5.098: for smooth images, pixel i lies at position 2 i + MIDDLE of the finer samples."""


def warped(image: Float[Array, "n n c"], matrix: Matrix, shift: Vector) -> Float[Array, "n n c"]:
    """Warp an image: the value at p = (x, y), measured from the centre, is that of the original at matrix (p - shift).

    Args:
        image: square, with x to the right and y downwards.
        matrix: maps (x, y) of the result to the original.
        shift: displacement (x, y) of the centre, in pixels.
    """
    n = len(image)
    up, down = (jnp.asarray(of, image.dtype) for of in (upsampling(n), downsampling(n)))
    fine = jnp.einsum("yi,ijc,xj->yxc", up, image, up)
    middle = n - 1 + MIDDLE
    offsets = jnp.arange(down.shape[1], dtype=image.dtype) - middle
    y, x = jnp.meshgrid(offsets - 2 * shift[1], offsets - 2 * shift[0], indexing="ij")
    places = [
        matrix[1, 0] * x + matrix[1, 1] * y + middle,
        matrix[0, 0] * x + matrix[0, 1] * y + middle,
    ]

    def sampled(channel: Float[Array, "m m"]) -> Float[Array, "k k"]:
        return map_coordinates(channel, places, order=1, mode="wrap")

    moved = jax.vmap(sampled, in_axes=2, out_axes=2)(fine)
    return jnp.einsum("iy,yxc,jx->ijc", down, moved, down)


@functools.cache
def upsampling(n: int) -> np.ndarray:
    """The matrix (4(n - 1), n) that maps n pixels to one period of the finer samples."""
    period = 2 * (n - 1)
    matrix = np.zeros((2 * period, n))
    for i in range(period):
        pixel = min(i, period - i)
        for tap, weight in enumerate(SYM6):
            matrix[(2 * i + tap) % (2 * period), pixel] += np.sqrt(2) * weight
    return matrix


@functools.cache
def downsampling(n: int) -> np.ndarray:
    """The matrix (n, 2 n + 10) that maps finer samples, starting at the first tap of the first pixel, to n pixels."""
    matrix = np.zeros((n, 2 * (n - 1) + len(SYM6)))
    for i in range(n):
        matrix[i, 2 * i : 2 * i + len(SYM6)] = SYM6 / np.sqrt(2)
    return matrix
