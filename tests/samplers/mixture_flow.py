"""A one-dimensional mixture with known probability flow: each point keeps its quantile."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from score_sde.models.exact import ProductMixtureScore

WEIGHTS, MEANS, VARIANCES = (0.3, 0.7), (-1.0, 0.6), (0.04, 0.09)
EPS = 1e-3


def mixture(sde):
    return ProductMixtureScore(*map(jnp.asarray, (WEIGHTS, MEANS, VARIANCES)), sde)


def tail(sde, t, above):
    """The mass above, or below, a point at time t, as a function of the point."""
    with jax.enable_x64(True):
        alpha, sigma = float(sde.alpha(jnp.asarray(t))), float(sde.sigma(jnp.asarray(t)))
    means, stds = alpha * np.array(MEANS), np.hypot(alpha * np.sqrt(VARIANCES), sigma)
    sign = -1.0 if above else 1.0
    return lambda x: float(np.dot(WEIGHTS, ndtr(sign * (x - means) / stds)))


def quantile_map(sde, x, t, s):
    """Where the flow takes a coordinate x at t: to the point of the same quantile at s."""
    # Above the median by the mass above: 1 - F would lose the tail's digits.
    start, end = (tail(sde, time, above=x >= 0) for time in (t, s))
    level = start(x)
    return brentq(lambda y: end(y) - level, -60, 60, xtol=1e-14)


def quantiles(sde, count=63):
    """Points of the mixture's marginal at T that cut it into equal parts."""
    below, far = tail(sde, sde.T, above=False), 10 * float(sde.sigma(jnp.asarray(sde.T)))
    levels = np.arange(1, count + 1) / (count + 1)
    return np.array([brentq(lambda x, q=q: below(x) - q, -far, far, xtol=1e-14) for q in levels])


@functools.cache
def ends_of_the_flow(sde, count=63):
    """Points (count, 1) at T, and where the flow takes them at EPS."""
    points = quantiles(sde, count)
    return points[:, None], np.array([[quantile_map(sde, x, sde.T, EPS)] for x in points])


@functools.cache
def along(sampler):
    """(model, grid, x) -> samples of a deterministic sampler: traced once for all grids of a length."""
    return jax.jit(lambda model, grid, x: sampler(model, grid, None, x, x))


def flow_error(sampler, grid):
    """Root mean square distance of a deterministic sampler from the flow, along a grid from T to EPS."""
    start, exact = ends_of_the_flow(sampler.sde)
    x = along(sampler)(mixture(sampler.sde), jnp.asarray(grid), jnp.asarray(start)).x
    return float(np.sqrt(np.mean(np.square(np.asarray(x) - exact))))
