"""Scaling between integer images and the range of a model: pure functions of arrays, for use under jit.

There are three scales, with functions from one to the next:

    levels v in {0, ..., L-1} --dequantize--> y = (v + u)/L in [0, 1)  --scale--> x = 2y - 1 or y
                              --to_unit-----> y = v/(L - 1) in [0, 1]  --scale--> x = 2y - 1 or y
    x --unscale--> y;  x --to_levels--> v

`num_levels=None` means that the data are real numbers already: the first step and its inverse are then the identity. In every
function, `centered` is True for x = 2y - 1 and False for x = y.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde.errors import ConfigError

# A float32 in [1/2, 1) has 24 significant bits. Sixteen hold the level; the others resolve a cell into 2^8 parts, and the
# noise stays 2^2 of them away from either edge. Nor does to_levels have a wider integer type.
MAX_LEVELS = 2**16


def check_num_levels(num_levels: int | None) -> None:
    """Refuse a number of levels for which the functions below would not be inverses of each other.

    Raises:
        ConfigError: fewer than 2 levels, or more than MAX_LEVELS.
    """
    if num_levels is not None and not 2 <= num_levels <= MAX_LEVELS:
        raise ConfigError(
            f"{num_levels} grey levels: expected 2 to {MAX_LEVELS}, which float32 can tell apart with noise within "
            "each; reduce the images to fewer"
        )


def check_flag(name: str, value: bool) -> None:
    """Refuse a number in place of True or False: a slope of 1.0, for instance, would count as True.

    Raises:
        ConfigError: the value is not a bool.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ConfigError(f"{name}={value!r}: expected True or False")


def level_type(num_levels: int) -> np.dtype:
    """The smallest unsigned integer type that holds the levels."""
    return np.min_scalar_type(num_levels - 1)


def dequantize(images: Array, u: Array, num_levels: int | None) -> Array:
    """Dequantize integer images, y = (v + u)/L in [0, 1), so that they have a density, as a likelihood in bits/dim requires.

    In float32, v + u may round up to v + 1, the value of the next level: for one 8-bit pixel in 197,000, thus in one
    CIFAR image of 65. The noise is therefore kept L 2^-22 of a level (6e-5 of one at L = 256) away from
    either edge. This exceeds the sum of all rounding errors on the way to x and back, so that `to_levels` returns
    exactly v. A likelihood then treats the density p(v + u) as constant within the margins, which changes the
    probability of a cell by less than the margin's share of it: 6e-5 of the variation of p across the cell at
    L = 256, and 1/64 of its much smaller variation at L = 65536.

    Args:
        images: integer levels, (..., h, w, c).
        u: noise in [0, 1) of the same shape, uniform or with another density on [0, 1), drawn per image by the caller,
            so that an image's noise does not depend on its batch. The result has its dtype.
        num_levels: L, 2 to MAX_LEVELS; None returns the images as they are.

    Returns:
        (..., h, w, c) in [0, 1).
    """
    check_num_levels(num_levels)
    if num_levels is None:
        return images
    margin = num_levels * 2.0**-22
    return (images.astype(u.dtype) + jnp.clip(u, margin, 1 - margin)) / num_levels


def to_unit(images: Array, num_levels: int | None) -> Array:
    """Scale levels to y = v/(L - 1) in [0, 1], float32: training without dequantization, like the published models."""
    check_num_levels(num_levels)
    if num_levels is None:
        return images
    return images.astype(jnp.float32) / (num_levels - 1)


def slope(centered: bool) -> float:
    """The derivative dx/dy of `scale`."""
    check_flag("centered", centered)
    return 2.0 if centered else 1.0


def scale(y: Array, centered: bool) -> Array:
    """x = 2y - 1 in [-1, 1] when centred (VP, sub-VP, DDPM), else y in [0, 1] (VE)."""
    check_flag("centered", centered)
    return 2 * y - 1 if centered else y


def unscale(x: Array, centered: bool) -> Array:
    """The inverse of `scale`, not clipped."""
    check_flag("centered", centered)
    return (x + 1) / 2 if centered else x


def to_levels(x: Array, num_levels: int | None, centered: bool, dequantized: bool) -> Array:
    """The integer image that x represents, by the inverse of the scaling used in training.

    - Trained on (v + u)/L: level v owns the interval [v/L, (v+1)/L), so v = floor(L y), clipped to L - 1.
    - Trained on v/(L - 1): level v is a point, and the nearest one is round((L - 1) y). Song et al. truncate
      here: floor(255 y) shifts every image half a level down, and a white pixel with y = 0.9999 becomes 254.

    Each rule is wrong for models trained the other way.

    Args:
        x: (..., h, w, c) in the model's range; values outside are clipped.
        num_levels: L, 2 to MAX_LEVELS; None returns the unscaled values.
        centered: as given to `scale`.
        dequantized: whether the model was trained with `dequantize`.

    Returns:
        uint8 (..., h, w, c), or uint16 for more than 256 levels.
    """
    check_num_levels(num_levels)
    check_flag("dequantized", dequantized)
    y = unscale(x, centered)
    if num_levels is None:
        return y
    levels = jnp.floor(y * num_levels) if dequantized else jnp.round(y * (num_levels - 1))
    return jnp.clip(levels, 0, num_levels - 1).astype(level_type(num_levels))


def to_levels_truncated(x: Array, num_levels: int, centered: bool) -> Array:
    """Convert to levels by the published rule, floor((L - 1) y): half a level darker on average than the training images.

    Published FIDs were measured on such images. Arguments and result are those of `to_levels`.
    """
    levels = jnp.floor(unscale(x, centered) * (num_levels - 1))
    return jnp.clip(levels, 0, num_levels - 1).astype(level_type(num_levels))


def bits_per_dim_offset(num_levels: int | None, centered: bool) -> float:
    """The number to add to -log2 p(x)/D to obtain the bits per dimension of the integer image.

    The probability of an image is the mass of a density on its cell, the product of D unit intervals of z:

        P(v) = integral over [0, 1)^D of p_z(v + u) du
             = E_q[p_z(v + u) / q(u|v)]                                        for any density q on [0, 1)^D,
        -log2 P(v) <= E_q[-log2 p_z(v + u) + log2 q(u|v)]                      by Jensen's inequality,

    where uniform noise is q = 1, with logarithm 0 (Theis et al. 2016, Sec. 3.1; Ho et al. 2019, Eq. 12). The cells
    must have unit width. Hence fewer levels L cost fewer bits, and an image of L levels written with m L levels, m times
    as far apart and with uniform noise in between, costs log2 m bits per dimension more.

    The model's density is that of x. From z to x = slope y + shift, y = z/L, each of the D axes is stretched by
    slope/L, so p_z(z) = p(x) (slope/L)^D and

        -log2 p_z(z)/D = -log2 p(x)/D + log2 L - log2 slope.

    With L = 256, x = 2y - 1 gives 7 and x = y gives 8. The shift has no effect.

    Args:
        num_levels: L; None for real-valued data, for which y has the data's own unit and the term log2 L is absent.
        centered: as given to `scale`.
    """
    check_num_levels(num_levels)
    return (0.0 if num_levels is None else math.log2(num_levels)) - math.log2(slope(centered))


def flip_horizontally(images: Array, flip: Array) -> Array:
    """Mirror the images for which flip is True, exchanging left and right.

    Args:
        images: (b, h, w, c), any dtype.
        flip: bool (b,), drawn per image by the caller.
    """
    return jnp.where(flip[:, None, None, None], images[:, :, ::-1, :], images)
