"""A one-dimensional mixture whose probability flow is known: each point keeps its quantile."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from models.exact import ProductMixtureScore
from tests.samplers.test_fixed_steps import EPS, quantiles
from tests.samplers.test_ode import MEANS, VARIANCES, WEIGHTS, quantile_map


def mixture(sde):
    return ProductMixtureScore(*map(jnp.asarray, (WEIGHTS, MEANS, VARIANCES)), sde)


@functools.cache
def ends_of_the_flow(sde):
    """63 points (63, 1) at T, and where the flow takes them at EPS."""
    points = quantiles(sde)
    return points[:, None], np.array([[quantile_map(sde, x, sde.T, EPS)] for x in points])


def flow_error(sampler, grid):
    """Root mean square distance of a deterministic sampler from the flow, along a grid from T to EPS."""
    start, exact = ends_of_the_flow(sampler.sde)
    model = mixture(sampler.sde)
    x = jax.jit(lambda x: sampler(model, grid, None, x, x).x)(jnp.asarray(start))
    return float(np.sqrt(np.mean(np.square(np.asarray(x) - exact))))
