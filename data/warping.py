"""Images moved, turned and stretched by affine maps, with no more of high frequencies than there are between pixels.

An image of n x n pixels goes on beyond its edges by reflection, so that it has the period 2(n - 1), and is sampled twice as finely,
where bilinear interpolation is good; then it is thinned out again:

    f[m] = sqrt(2) sum_i h[m - 2i] x[i],    f'(m) = f(the map's place of m),    x'[i] = sum_k h[k] f'[2i + k] / sqrt(2).

h is Daubechies' least asymmetric wavelet filter of six vanishing moments, as in the augmentation of Karras et al. 2020a (App. B) and
2022 (App. F.2). It is orthogonal to itself moved by two, so a map that changes nothing, or moves by whole pixels, loses nothing. Up
and down are products with matrices of the size of the image. (Karras et al. have zeros from one image's width beyond its edges on.)
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

# Daubechies 1992, Table 6.3 (N = 6), of which the sum is sqrt(2).
SYM6 = np.array([
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
])  # fmt: skip
MIDDLE = float(np.arange(len(SYM6)) @ SYM6 / SYM6.sum())
"""Of the filter, 5.098: pixel i is where the finer samples have the place 2 i + MIDDLE, of smooth images."""


def warped(image: Float[Array, "n n c"], matrix: Matrix, shift: Vector) -> Float[Array, "n n c"]:
    """The image that has at p, of x to the right and y downwards from the middle, what this one has at matrix (p - shift).

    Args:
        shift: in pixels, how far what is in the middle moves.
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
    """The matrix (4(n - 1), n) from n pixels to one period of the finer samples."""
    period = 2 * (n - 1)
    matrix = np.zeros((2 * period, n))
    for i in range(period):
        pixel = min(i, period - i)
        for tap, weight in enumerate(SYM6):
            matrix[(2 * i + tap) % (2 * period), pixel] += np.sqrt(2) * weight
    return matrix


@functools.cache
def downsampling(n: int) -> np.ndarray:
    """The matrix (n, 2 n + 10) from finer samples, the first of which is at the first tap of the first pixel, to n pixels."""
    matrix = np.zeros((n, 2 * (n - 1) + len(SYM6)))
    for i in range(n):
        matrix[i, 2 * i : 2 * i + len(SYM6)] = SYM6 / np.sqrt(2)
    return matrix
