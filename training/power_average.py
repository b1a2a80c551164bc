"""Averages of the weights with a power-function profile, of any width (Karras et al. 2024b, Sec. 3 and App. C).

At time t of training, the average weights the parameters at time s by

    p(s) = (gamma + 1) s^gamma / t^(gamma + 1),    0 <= s <= t,

whose relative width, the standard deviation of s / t, is the same at all times, so the initial weights are forgotten without a warm-up:

    sigma_rel = sqrt((gamma + 1) / ((gamma + 2)^2 (gamma + 3)))

An average is linear in its profile. So the average of any width and time can be approximated by a linear combination of stored
averages of other widths and times, if the same combination of their profiles approximates its own. Times are counted in updates. All
functions but `gain` run on the host in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde.options import Range

WIDEST = 0.28  # gamma = 0, the uniform average, has width 1 / sqrt(12) = 0.289


def is_width(sigma_rel: float) -> bool:
    """Whether a relative width is in the range of power-function averages."""
    return 0 < sigma_rel < WIDEST


WIDTHS = Range(
    f"widths above 0 and below {WIDEST}, all different, such as 0.05,0.1",
    lambda widths: all(map(is_width, widths)) and len(set(widths)) == len(widths),
    ((0.0,), (0.05, 0.05), (0.3,), (math.nan,)),
)
WIDTH_OR_NONE = Range(
    f"a width above 0 and below {WIDEST}, such as 0.1, or 0 for none",
    lambda width: width == 0 or is_width(width),
    (-0.1, 0.3, math.nan),
)


class Profile(NamedTuple):
    """The profile of a power-function average."""

    time: float
    """The time t of the average, in updates."""
    exponent: float
    """The exponent gamma."""


def exponent(sigma_rel: float) -> float:
    """Return gamma for a width: the largest root of the cubic (gamma + 2)^2 (gamma + 3) = (gamma + 1) / sigma_rel^2."""
    c = sigma_rel**-2
    roots = np.roots([1.0, 7.0, 16.0 - c, 12.0 - c])
    return float(roots.real.max())


def width(gamma: float) -> float:
    """Return sigma_rel for gamma, the inverse of `exponent`."""
    return math.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3)))


def gain(gamma: float, share: Array | float) -> Array:
    """Return the fraction 1 - (1 - share)^(gamma + 1) by which an update moves the average towards the new parameters.

    Args:
      share: the duration of this update relative to the time so far: 1 / n for the n-th update, and 1 for the first, which
        sets the average to the parameters.
    """
    # For a small share the power is close to 1, and subtracting it from 1 would leave mostly round-off.
    return -jnp.expm1((gamma + 1.0) * jnp.log1p(-jnp.asarray(share)))


def product(a: Profile, b: Profile) -> float:
    """Return the integral of the product of two profiles."""
    first, last = sorted((a, b))
    ratio = (first.time / last.time) ** last.exponent
    return (a.exponent + 1) * (b.exponent + 1) / (a.exponent + b.exponent + 1) * ratio / last.time


def products(rows: Sequence[Profile], columns: Sequence[Profile]) -> np.ndarray:
    """Return the matrix (rows, columns) of the integrals of all pairwise products."""
    return np.array([[product(a, b) for b in columns] for a in rows]).reshape(len(rows), -1)


def coefficients(kept: Sequence[Profile], wanted: Sequence[Profile]) -> np.ndarray:
    """Return the least-squares coefficients (kept, wanted) of the wanted profiles, normalized so that each column sums to 1."""
    found = np.linalg.solve(products(kept, kept), products(kept, wanted))
    return found / found.sum(axis=0)


def misfit(kept: Sequence[Profile], wanted: Profile, weights: np.ndarray) -> float:
    """Return the L2 error of the combination of kept profiles with `weights` (kept,), relative to the wanted profile's norm.

    0 is a perfect fit, 1 none at all.
    """
    norm = product(wanted, wanted)
    cross = weights @ products(kept, [wanted])[:, 0]
    square = weights @ products(kept, kept) @ weights
    return math.sqrt(max(norm - 2 * cross + square, 0.0) / norm)
