"""Averages of the weights with a power-function profile, of any width (Karras et al. 2024b, Sec. 3 and App. C).

After a time t of training the average weighs the parameters of the time s by

    p(s) = (gamma + 1) s^gamma / t^(gamma + 1),    0 <= s <= t,

whose width, the standard deviation of s / t, is the same at all times: the first weights are forgotten without a warm-up.

    sigma_rel = sqrt((gamma + 1) / ((gamma + 2)^2 (gamma + 3)))

An average is linear in its profile. So the average of any width and time is nearly a sum of averages that were kept, of other
widths and times, whose profiles add up nearly to its own. Times are updates here, and all functions are of the host, in float64, but for
`gain`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde.options import Range

WIDEST = 0.28  # of gamma = 0, all weights alike, it is 1 / sqrt(12) = 0.289


def is_width(sigma_rel: float) -> bool:
    """Whether a relative width can be had by a power-function average."""
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
    """A power-function average: when it was kept, and its exponent."""

    time: float
    """t, the average's own: updates when it was kept."""
    exponent: float
    """gamma."""


def exponent(sigma_rel: float) -> float:
    """gamma of a width: the largest root of the cubic (gamma + 2)^2 (gamma + 3) = (gamma + 1) / sigma_rel^2."""
    c = sigma_rel**-2
    roots = np.roots([1.0, 7.0, 16.0 - c, 12.0 - c])
    return float(roots.real.max())


def width(gamma: float) -> float:
    """sigma_rel, the inverse of `exponent`."""
    return math.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3)))


def gain(gamma: float, share: Array | float) -> Array:
    """How far the average goes towards the new parameters, 1 - (1 - share)^(gamma + 1).

    Args:
      share: of the time so far, the part since the update before: 1 / n for the n-th of equal ones; 1 for the first, which
        makes the average the parameters themselves.
    """
    # For a small share the power is near 1, and its difference to 1 would be round-off.
    return -jnp.expm1((gamma + 1.0) * jnp.log1p(-jnp.asarray(share)))


def product(a: Profile, b: Profile) -> float:
    """The integral of the product of two profiles."""
    first, last = sorted((a, b))
    ratio = (first.time / last.time) ** last.exponent
    return (a.exponent + 1) * (b.exponent + 1) / (a.exponent + b.exponent + 1) * ratio / last.time


def products(rows: Sequence[Profile], columns: Sequence[Profile]) -> np.ndarray:
    """Of each with each, (rows, columns)."""
    return np.array([[product(a, b) for b in columns] for a in rows]).reshape(len(rows), -1)


def coefficients(kept: Sequence[Profile], wanted: Sequence[Profile]) -> np.ndarray:
    """(kept, wanted): of the sums of kept profiles that come nearest to the wanted ones, in mean square; they add up to 1."""
    found = np.linalg.solve(products(kept, kept), products(kept, wanted))
    return found / found.sum(axis=0)


def misfit(kept: Sequence[Profile], wanted: Profile, weights: np.ndarray) -> float:
    """The distance of that sum (kept,) from the wanted profile, relative to its norm: 0 is a perfect fit, 1 none."""
    norm = product(wanted, wanted)
    cross = weights @ products(kept, [wanted])[:, 0]
    square = weights @ products(kept, kept) @ weights
    return math.sqrt(max(norm - 2 * cross + square, 0.0) / norm)
