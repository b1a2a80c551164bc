"""Log-densities by the instantaneous change of variables (Song et al. 2021, Eq. 39; Chen et al. 2018).

Along the probability-flow ODE dx/dt = v(x, t), the log-density moves as d ln p/dt = -div v, hence

    ln p_eps(x) = ln prior(x(T)) + integral from eps to T of div v(x(t), t) dt.

The integral is the trace of the integrated Jacobian, exact or estimated without bias (likelihood/trace.py).

What is returned is the density of the ODE's own law at time eps, which starts from the prior at T and stops
at eps: not of the data's, nor of the SDE's.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool

from score_sde.likelihood.trace import Integral, Rates, TraceEstimator
from score_sde.models.score import ScoreModel, each_alone
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.samplers.ode import probability_flow
from score_sde.sde_lib import SDE
from score_sde.shapes import Array, Images, Integers, PerImage, Scalar


class LogDensity(NamedTuple):
    """Of b images."""

    nats: PerImage
    """ln p_eps(x)."""
    standard_error: PerImage
    """Of nats, from the spread of the image's own probes: 0 for the exact trace, NaN for a single probe."""
    latent: Images
    """x(T)."""
    nfe: Integers
    """Evaluations of the score."""
    success: Bool[Array, "b"]
    """False where the solver gave up: the other values are then meaningless."""


def log_density(
    score: ScoreModel,
    sde: SDE,
    x: Images,
    estimator: TraceEstimator,
    keys: Array,
    eps: float,
    solver: AdaptiveSolver,
    each_image: bool = False,
) -> LogDensity:
    """ln p_eps(x), in nats.

    It can be differentiated in x and in the score's leaves, as `solver.adjoint` says.

    Args:
      keys: (b,), one for each image, which its probes come from; for `GivenProbes` the probes.
      each_image: step sizes of its own for each image, whose values then do not depend on its batch; otherwise one
        step size serves all, by the error of all.

    Cost: nfe evaluations of the score, with the Jacobian-vector products of `estimator` beside each.
    """
    if each_image:

        def alone(score: ScoreModel, x: Images, keys: Array) -> LogDensity:
            return log_density(score, sde, x, estimator, keys, eps, solver)

        return jax.tree.map(lambda leaf: leaf[:, 0], each_alone(alone, score, x, keys))

    def integrate(rates: Rates, zeros: Array, vectors: Any, tolerance: float) -> Integral:
        rtol, atol = max(solver.rtol, tolerance), max(solver.atol, tolerance)
        # What the coarse solve is for has no part in the gradient; nothing is stored for one.
        coarse = dataclasses.replace(solver, rtol=rtol, atol=atol, adjoint="forward")
        start, model = jax.lax.stop_gradient((x, score))
        solution = _solve_beside(sde, rates, start, zeros, (model, vectors), eps, coarse)
        return Integral(solution.y[1], solution.nfe, solution.success)

    drawn = estimator.draw(keys, x, integrate)
    zeros = jnp.zeros((x.shape[0], estimator.num_rates), x.dtype)
    solution = _solve_beside(sde, estimator.rates, x, zeros, (score, drawn.vectors), eps, solver)
    latent, integrals = solution.y
    trace = estimator.trace(integrals)
    return LogDensity(
        nats=sde.prior_log_density(latent) + trace.value,
        standard_error=trace.standard_error,
        latent=latent,
        nfe=jnp.broadcast_to(solution.nfe + drawn.nfe, x.shape[:1]),
        success=jnp.broadcast_to(solution.success & drawn.success, x.shape[:1]),
    )


def _solve_beside(
    sde: SDE, rates: Rates, x: Images, zeros: Array, args: Any, eps: float, solver: AdaptiveSolver
) -> Any:
    """The flow of x from eps to T, with the integral of its rates beside it. All that varies is in `args`."""

    def augmented(t: Scalar, state: tuple[Images, Array], args: Any) -> tuple[Images, Array]:
        model, vectors = args
        return rates(lambda x: probability_flow(sde, t, x, model), state[0], vectors)

    return solver.solve(augmented, (x, zeros), jnp.asarray([eps, sde.T]), args)
