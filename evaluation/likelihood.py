"""Log-densities by the instantaneous change of variables (Song et al. 2021, Eq. 39; Chen et al. 2018).

Along the probability-flow ODE dx/dt = v(x, t), the log-density moves as d ln p/dt = -div v, hence

    ln p_eps(x) = ln prior(x(T)) + integral from eps to T of div v(x(t), t) dt.

The divergence is estimated by Skilling and Hutchinson: E[e . J e] = tr J for any e with identity
covariance. One e serves the whole trajectory, which keeps the ODE well defined and the estimate unbiased.
J e comes from a forward-mode product, so drift and divergence cost one pass that stores nothing.

What is returned is the density of the ODE's own law at time eps, which starts from the prior at T and stops
at eps: not of the data's, nor of the SDE's.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from models.score import ScoreModel
from samplers.adaptive import AdaptiveSolver
from samplers.ode import probability_flow
from sde_lib import SDE


class LogDensity(NamedTuple):
    """Of a batch: ln p_eps(x) in nats (b,), the latent x(T) (b, ...), evaluations, and the solver's success."""

    nats: Array
    latent: Array
    nfe: Array
    success: Array


def rademacher(key: Array, shape: tuple[int, ...]) -> Array:
    """Signs +1 and -1: the probe of least variance with independent entries; exact for diagonal Jacobians."""
    return jax.random.rademacher(key, shape, jnp.float32)


def gaussian(key: Array, shape: tuple[int, ...]) -> Array:
    return jax.random.normal(key, shape, jnp.float32)


PROBES = {"rademacher": rademacher, "gaussian": gaussian}


def log_density(
    score: ScoreModel, sde: SDE, x: Array, probe: Array, eps: float, solver: AdaptiveSolver
) -> LogDensity:
    """ln p_eps(x) for x (b, ...) with one probe vector for each image, shaped like x.

    Cost: one evaluation of the score and one Jacobian-vector product for each evaluation that nfe counts.
    """
    field = probability_flow(sde)

    def augmented(t: Array, state: tuple[Array, Array], model: ScoreModel) -> tuple[Array, Array]:
        x, _ = state
        velocity, jacobian_probe = jax.jvp(lambda x: field(t, x, model), (x,), (probe,))
        divergence = jnp.sum((probe * jacobian_probe).reshape(x.shape[0], -1), axis=1)
        return velocity, divergence

    start = (x, jnp.zeros(x.shape[0], x.dtype))
    (latent, divergence), nfe, success = solver.solve(augmented, start, eps, sde.T, score)
    return LogDensity(sde.prior_log_density(latent) + divergence, latent, nfe, success)
