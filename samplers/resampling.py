"""Which particles go on: each, in the mean, as many times as its share of the weight says.

Each is a function (weights (k,), u (k,)) -> places (k,), of weights with sum 1 and uniform numbers in [0, 1).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Integer

from score_sde.shapes import Array, PerImage

Shares = Float[Array, "k"]
Places = Integer[Array, "k"]


def _at(weights: Shares, u: Shares) -> Places:
    """The places of these quantiles."""
    ends = jnp.cumsum(weights)
    places = jnp.searchsorted(ends / ends[-1], u, side="right")
    return jnp.minimum(places, len(weights) - 1)


def systematic(weights: Shares, u: Shares) -> Places:
    """Quantiles 1/k apart, moved by one uniform number: each count is one of the two whole numbers around k w."""
    return _at(weights, (jnp.arange(len(weights)) + u[0]) / len(weights))


def multinomial(weights: Shares, u: Shares) -> Places:
    """Independent draws."""
    return _at(weights, u)


RESAMPLING: dict[str, Callable[[Shares, Shares], Places]] = {
    "systematic": systematic,
    "multinomial": multinomial,
}


def effective_size(log_weights: Float[Array, "b k"]) -> PerImage:
    """(sum w)^2 / sum w^2 of each row: k for equal weights, 1 where one has all."""
    return 1.0 / jnp.sum(jnp.square(jax.nn.softmax(log_weights, axis=1)), axis=1)


def uniform(z: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    """Standard normal numbers as uniform ones below 1."""
    return jnp.minimum(jax.scipy.stats.norm.cdf(z), 1.0 - jnp.finfo(z.dtype).epsneg)
