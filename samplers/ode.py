"""The probability-flow ODE dx/dt = f x - g^2/2 score, the mean velocity of the paths, by diffrax (Song et al. 2021, Eq. 13).

Sampling integrates it from T down to eps; likelihood/log_density.py from eps up to T, together with the divergence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp

from score_sde.models.score import (
    ScoreModel,
    each_alone,
    flow_velocity,
    predicted_noise,
    score_at,
)
from score_sde.options import choose
from score_sde.samplers.adaptive import Solution, Solver
from score_sde.samplers.noise import Noise
from score_sde.samplers.predictors import batch_times
from score_sde.samplers.record import Sampler, Samples
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Images, Points, Scalar

Flow = Callable[[SDE, Scalar, Images, ScoreModel], Images]


def probability_flow(sde: SDE, t: Scalar, x: Images, score: ScoreModel) -> Images:
    """dx/dt = f x - g^2/2 score (b, ...) at a scalar time t (Song et al. 2021, Eq. 13); one evaluation.

    The velocity is taken directly from a model that predicts it, since the formula is 0/0 where alpha is 0.
    """
    return flow_velocity(sde, score, x, batch_times(x, t))


def noise_at(sde: SDE, log_snr: Scalar, x_hat: Images, score: ScoreModel) -> Images:
    """eps_hat = -sigma score (b, ...) at the state x_hat = x / alpha and a scalar log-SNR; one evaluation."""
    t = batch_times(x_hat, sde.time_of_log_snr(log_snr))
    x = expand(sde.alpha(t), x_hat) * x_hat
    return predicted_noise(sde, score_at(score, x, t), t)


def flow_in_ratio(sde: SDE, rho: Scalar, x_hat: Images, score: ScoreModel) -> Images:
    """dx_hat/drho = eps_hat, rho = sigma/alpha.

    In these variables the linear part of the drift vanishes, and every process has the same flow.
    """
    return noise_at(sde, -2.0 * jnp.log(rho), x_hat, score)


def flow_in_log_ratio(sde: SDE, u: Scalar, x_hat: Images, score: ScoreModel) -> Images:
    """dx_hat/du = exp(u) eps_hat (b, ...) for a scalar u = ln(sigma/alpha), the logarithm of `flow_in_ratio`'s variable; one evaluation."""
    return jnp.exp(u) * noise_at(sde, -2.0 * u, x_hat, score)


class Variable(NamedTuple):
    """A variable in which to solve the flow: its value as a function of time, the flow in it, and the scale of its state."""

    of_time: Callable[[SDE, Points], Points]
    flow: Flow
    scale: Callable[[SDE, Points], Points]
    """What x is divided by to give the state."""


VARIABLES: dict[str, Variable] = {
    "t": Variable(lambda sde, t: t, probability_flow, lambda sde, t: jnp.ones_like(t)),
    "ratio": Variable(
        lambda sde, t: jnp.exp(-0.5 * sde.log_snr(t)), flow_in_ratio, lambda sde, t: sde.alpha(t)
    ),
    "log_ratio": Variable(
        lambda sde, t: -0.5 * sde.log_snr(t), flow_in_log_ratio, lambda sde, t: sde.alpha(t)
    ),
}


@dataclasses.dataclass(frozen=True)
class ProbabilityFlow(Sampler):
    """Samples by solving the probability-flow ODE.

    `variable` is the time variable of the solver: "t"; "ratio", sigma/alpha; or "log_ratio", its logarithm. With
    `each_image` every image has its own step sizes, and does not depend on the others in its batch.
    """

    sde: SDE
    solver: Solver
    variable: str = "t"
    each_image: bool = False

    def __post_init__(self):
        choose("sampling.ode.variable", self.variable, VARIABLES)

    @property
    def reversible(self) -> bool:
        return True

    @property
    def reaches_zero(self) -> bool:
        return (
            self.variable == "t"
        )  # with a model that gives its velocity; the ratio's logarithm is infinite there

    def sample(
        self, score: ScoreModel, grid: Points, noise: Noise, x: Images, keep_path: bool
    ) -> Samples:
        variable = VARIABLES[self.variable]
        scale = variable.scale(self.sde, grid)

        def solve(score: ScoreModel, y: Images) -> Solution:
            times, field = variable.of_time(self.sde, grid), partial(variable.flow, self.sde)
            return self.solver.solve(field, y, times, score, keep_path)

        y = x / scale[0]
        solution = solve_each(solve, score, y) if self.each_image else solve(score, y)
        path = None if solution.path is None else expand(scale, solution.path) * solution.path
        return Samples(scale[-1] * solution.y, solution.nfe, path, solution.success)


def solve_each(solve: Callable[..., Solution], score: ScoreModel, *images: Any) -> Solution:
    """Solve for each image separately, in parallel, from arrays or pytrees of arrays with leading axis b.

    nfe and success are (b,); the path keeps its shape (n + 1, b, ...).
    """
    solution = each_alone(solve, score, *images)
    path = None if solution.path is None else jnp.moveaxis(solution.path[:, :, 0], 1, 0)
    return Solution(solution.y[:, 0], solution.nfe, solution.success, path)
