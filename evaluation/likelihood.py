"""Log-densities by the instantaneous change of variables (Song et al. 2021, Eq. 39; Chen et al. 2018).

Along the probability-flow ODE dx/dt = v(x, t), the log-density moves as d ln p/dt = -div v, hence

    ln p_eps(x) = ln prior(x(T)) + integral from eps to T of div v(x(t), t) dt.

The divergence is exact, or an unbiased estimate along one random vector (evaluation/divergence.py).

What is returned is the density of the ODE's own law at time eps, which starts from the prior at T and stops
at eps: not of the data's, nor of the SDE's.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from evaluation.divergence import Divergence
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


def log_density(
    score: ScoreModel,
    sde: SDE,
    x: Array,
    divergence: Divergence,
    eps: float,
    solver: AdaptiveSolver,
) -> LogDensity:
    """ln p_eps(x) for x (b, ...).

    Cost: one evaluation of the score for each that nfe counts, with the Jacobian-vector products of
    `divergence` beside it: one for a probe, D for the exact trace.
    """
    field = probability_flow(sde)

    def augmented(t: Array, state: tuple[Array, Array], model: ScoreModel) -> tuple[Array, Array]:
        x, _ = state
        return divergence(lambda x: field(t, x, model), x)

    start = (x, jnp.zeros(x.shape[0], x.dtype))
    solution = solver.solve(augmented, start, jnp.asarray([eps, sde.T]), score)
    latent, integral = solution.y
    log_density = sde.prior_log_density(latent) + integral
    return LogDensity(log_density, latent, solution.nfe, solution.success)
