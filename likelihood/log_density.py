"""Log-densities by the instantaneous change of variables (Song et al. 2021, Eq. 39; Chen et al. 2018).

Along the probability-flow ODE dx/dt = v(x, t) the log-density obeys d ln p/dt = -div v, hence

    ln p_eps(x) = ln prior(x(T)) + integral from eps to T of div v(x(t), t) dt.

The integral is the trace of the integrated Jacobian, exact or estimated without bias (likelihood/trace.py).

This is the density of the ODE's own distribution at time eps, started from the prior at T: not that of the data,
nor that of the SDE.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Bool

from score_sde.likelihood.bound import check_keys
from score_sde.likelihood.trace import Integral, Rates, TraceEstimator
from score_sde.models.score import ScoreModel, check_images, each_alone
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.samplers.ode import probability_flow
from score_sde.samplers.record import time_dtype
from score_sde.sde_lib import SDE
from score_sde.shapes import Array, Images, Integers, PerImage, Scalar


class LogDensity(NamedTuple):
    """Log-densities of b images, with their errors and latents."""

    nats: PerImage
    """ln p_eps(x)."""
    standard_error: PerImage
    """Standard error of `nats` from the spread of the image's probes: 0 for the exact trace, NaN for a single probe."""
    latent: Images
    """x(T)."""
    nfe: Integers
    """Evaluations of the score."""
    success: Bool[Array, "b"]
    """False if the solver failed; the other values are then meaningless."""


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
    """Compute ln p_eps(x) of images x (b, ...) in nats.

    Differentiable in x and in the score's leaves, in the way `solver.adjoint` selects.

    Args:
      keys: (b,), one random key per image for its probes; for `GivenProbes` the probes themselves.
      each_image: whether each image has its own step sizes, so that its values do not depend on the batch; otherwise one
        step size for all is controlled by their joint error.

    Cost: nfe evaluations of the score, each with the Jacobian-vector products of `estimator`.

    Raises:
      ConfigError: an eps outside (0, T), no images, or integers.
      ValueError: keys that are not one per image.
    """
    sde.check_time("eps", eps)
    check_images("the log-density of images", x)
    check_keys(keys.shape[:1], x)
    if each_image:

        def alone(score: ScoreModel, x: Images, keys: Array) -> LogDensity:
            return log_density(score, sde, x, estimator, keys, eps, solver)

        return jax.tree.map(lambda leaf: leaf[:, 0], each_alone(alone, score, x, keys))

    def integrate(rates: Rates, zeros: Array, vectors: Any, tolerance: float) -> Integral:
        rtol, atol = max(solver.rtol, tolerance), max(solver.atol, tolerance)
        # No gradient flows through the coarse solve, so nothing is stored for a backward pass.
        coarse = dataclasses.replace(solver, rtol=rtol, atol=atol, adjoint="forward")
        arrays, rest = eqx.partition((x, score), eqx.is_array)  # a score may be a plain function
        start, model = eqx.combine(jax.lax.stop_gradient(arrays), rest)
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
    """Solve the flow of x from eps to T together with the integral of `rates`; traced values must be passed in `args`."""

    def augmented(t: Scalar, state: tuple[Images, Array], args: Any) -> tuple[Images, Array]:
        model, vectors = args
        return rates(lambda x: probability_flow(sde, t, x, model), state[0], vectors)

    return solver.solve(augmented, (x, zeros), jnp.asarray([eps, sde.T], time_dtype(x.dtype)), args)
