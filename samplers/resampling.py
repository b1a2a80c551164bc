"""Resampling of particles: the expected number of copies of each is proportional to its weight.

Each function maps (weights (k,), u (k,)) -> places (k,), for weights with sum 1 and uniform numbers u in [0, 1).
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
    """The places of the quantiles u in the distribution of the weights."""
    ends = jnp.cumsum(weights)
    places = jnp.searchsorted(ends / ends[-1], u, side="right")
    return jnp.minimum(places, len(weights) - 1)


def systematic(weights: Shares, u: Shares) -> Places:
    """Systematic resampling: quantiles 1/k apart with one random offset; each count is k w rounded down or up."""
    return _at(weights, (jnp.arange(len(weights)) + u[0]) / len(weights))


def multinomial(weights: Shares, u: Shares) -> Places:
    """Multinomial resampling: independent draws."""
    return _at(weights, u)


RESAMPLING: dict[str, Callable[[Shares, Shares], Places]] = {
    "systematic": systematic,
    "multinomial": multinomial,
}


def effective_size(log_weights: Float[Array, "b k"]) -> PerImage:
    """Effective sample size (sum w)^2 / sum w^2 of each row: k for equal weights, 1 if one has all the weight."""
    return 1.0 / jnp.sum(jnp.square(jax.nn.softmax(log_weights, axis=1)), axis=1)


def uniform(z: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    """Map standard normal numbers to uniform ones below 1."""
    return jnp.minimum(jax.scipy.stats.norm.cdf(z), 1.0 - jnp.finfo(z.dtype).epsneg)
