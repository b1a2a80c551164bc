"""Between integer images and the range a model works in: pure functions of arrays, for inside jit.

Three scales, and the functions that lead from one to the next:

    levels v in {0, ..., L-1} --dequantize--> y = (v + u)/L in [0, 1)  --scale--> x = 2y - 1 or y
                              --to_unit-----> y = v/(L - 1) in [0, 1]  --scale--> x = 2y - 1 or y
    x --unscale--> y;  x --to_levels--> v

`num_levels=None` means the data are real numbers already: the first step and its inverse change nothing. `centered` is True
for x = 2y - 1 and False for x = y, in every function.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde.errors import ConfigError

# Of the bits of a float32 in [1/2, 1), 24, sixteen say the level; what is left resolves a cell into 2^8 parts, of which
# the noise keeps 2^2 away from either edge. to_levels has no wider integer either.
MAX_LEVELS = 2**16


def check_num_levels(num_levels: int | None) -> None:
    """Refuse a number of levels at which the functions below would not be inverses of each other.

    Raises:
        ConfigError: fewer than 2 levels, or more than MAX_LEVELS.
    """
    if num_levels is not None and not 2 <= num_levels <= MAX_LEVELS:
        raise ConfigError(
            f"{num_levels} grey levels: expected 2 to {MAX_LEVELS}, which float32 can tell apart with noise within "
            "each; reduce the images to fewer"
        )


def check_flag(name: str, value: bool) -> None:
    """Refuse a number where True or False is meant: a slope of 1.0 would count as True.

    Raises:
        ConfigError: anything else than a truth value.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ConfigError(f"{name}={value!r}: expected True or False")


def level_type(num_levels: int) -> np.dtype:
    """The least unsigned integers that hold the levels."""
    return np.min_scalar_type(num_levels - 1)


def dequantize(images: Array, u: Array, num_levels: int | None) -> Array:
    """y = (v + u)/L in [0, 1): integer images with a density, as a likelihood in bits/dim needs.

    In float32 v + u may round up to v + 1, the next level's value: for one 8-bit pixel in 197,000, so in one
    CIFAR image of 65. The noise is therefore kept L 2^-22 of a level (6e-5 of one at L = 256) away from
    either edge; this exceeds the sum of all rounding errors on the way to x and back, and `to_levels` returns
    exactly v. To a likelihood it makes a density p(v + u) look constant within the margins, which moves the
    probability of a cell by less than the margin's share of it: 6e-5 of p's variation across the cell at L = 256,
    and 1/64 of what little it varies at L = 65536.

    Args:
        images: integer levels, (..., h, w, c).
        u: noise in [0, 1) of the same shape, uniform or of another law there, drawn per image by the caller, so
            that an image's noise does not depend on its batch. Its dtype is the result's.
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
    """y = v/(L - 1) in [0, 1], float32: training without dequantization, as published models are trained."""
    check_num_levels(num_levels)
    if num_levels is None:
        return images
    return images.astype(jnp.float32) / (num_levels - 1)


def slope(centered: bool) -> float:
    """dx/dy of `scale`."""
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
    """The integer image that x stands for, by the inverse of what the model was trained on.

    - Trained on (v + u)/L: level v owns the interval [v/L, (v+1)/L), so v = floor(L y), clipped to L - 1.
    - Trained on v/(L - 1): level v is a point, and the nearest one is round((L - 1) y). Song et al. truncate
      here: floor(255 y) moves every image half a level down, and a white pixel of y = 0.9999 becomes 254.

    Each rule is wrong for the other kind of model.

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
    """floor((L - 1) y), the published rule: half a level darker on average than what the network was trained on.

    Published FIDs were measured on such images. Arguments and result as those of `to_levels`.
    """
    levels = jnp.floor(unscale(x, centered) * (num_levels - 1))
    return jnp.clip(levels, 0, num_levels - 1).astype(level_type(num_levels))


def bits_per_dim_offset(num_levels: int | None, centered: bool) -> float:
    """What to add to -log2 p(x)/D to get the bits per dimension of the integer image.

    The probability of an image is the mass of a density on its cell, the product of D unit intervals of z:

        P(v) = integral over [0, 1)^D of p_z(v + u) du
             = E_q[p_z(v + u) / q(u|v)]                                        for any density q on [0, 1)^D,
        -log2 P(v) <= E_q[-log2 p_z(v + u) + log2 q(u|v)]                      by Jensen's inequality,

    and uniform noise is q = 1, whose logarithm is absent (Theis et al. 2016, Sec. 3.1; Ho et al. 2019, Eq. 12). The
    cells must be of unit width: that is what makes an L of fewer levels cheaper, and an image of L levels written in
    m L of them, m times as far apart, with uniform noise below, log2 m bits per dimension dearer.

    The model's density is one of x. From z to x = slope y + shift, y = z/L, every one of D axes is stretched by
    slope/L, so p_z(z) = p(x) (slope/L)^D and

        -log2 p_z(z)/D = -log2 p(x)/D + log2 L - log2 slope.

    x = 2y - 1 and L = 256 gives 7; x = y gives 8. A shift changes nothing.

    Args:
        num_levels: L; None for real-valued data, for which the unit of y is the data's own and log2 L is absent.
        centered: as given to `scale`.
    """
    check_num_levels(num_levels)
    return (0.0 if num_levels is None else math.log2(num_levels)) - math.log2(slope(centered))


def flip_horizontally(images: Array, flip: Array) -> Array:
    """Left and right exchanged in the images where flip is True.

    Args:
        images: (b, h, w, c), any dtype.
        flip: bool (b,), drawn per image by the caller.
    """
    return jnp.where(flip[:, None, None, None], images[:, :, ::-1, :], images)
