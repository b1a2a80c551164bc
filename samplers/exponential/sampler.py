"""Sampling with an exponential integrator: takes times and x, works in lambda and x/alpha, and returns x."""

from __future__ import annotations

import dataclasses
from typing import Any

import diffrax
import jax
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.models.score import ScoreModel
from score_sde.options import choose
from score_sde.samplers.adaptive import Adaptive, Solution, own_steps, solve_along
from score_sde.samplers.brownian import GridPath, ScalarNoise
from score_sde.samplers.exponential.methods import EXPONENTIAL
from score_sde.samplers.noise import Noise
from score_sde.samplers.ode import noise_at, solve_each
from score_sde.samplers.record import Sampler, Samples
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Images, Points


class UnitController(diffrax.PIDController):
    """diffrax's controller with states and errors scaled to a variance of about 1.

    The scaled states are x_hat / sqrt(1 + rho^2), those of VP, so every process takes the same steps. In x_hat itself errors
    would be measured relative to its size at the start of a step, and a long step from noise would be accepted whatever its
    result.
    """

    def adapt_step_size(
        self, t0: Any, t1: Any, y0: Any, y1: Any, args: Any, y_error: Any, *more: Any
    ) -> Any:
        start, end = (jax.lax.rsqrt(1.0 + jnp.exp(-2.0 * t)) for t in (t0, t1))
        return super().adapt_step_size(t0, t1, start * y0, end * y1, args, end * y_error, *more)


@dataclasses.dataclass(frozen=True)
class ExponentialSampler(Sampler):
    """Samples with the method of this name in `EXPONENTIAL`.

    With `eta` in (0, 1] part of the noise is redrawn in each step, for methods that support it; 0 is the probability-flow
    ODE. With `adaptive` the method's error estimate controls the steps, for methods that have one.

    Raises:
      ConfigError: an unknown method, or one that does not support what is requested.
    """

    sde: SDE
    method: str
    eta: float = 0.0
    adaptive: Adaptive | None = None

    def __post_init__(self):
        method = choose("method", self.method, EXPONENTIAL)
        if not 0 <= self.eta <= 1:
            raise ConfigError(
                f"eta={self.eta}: expected 0 <= eta <= 1; 0 adds no noise, 1 the most"
            )
        if self.eta and method.with_noise is None:
            able = [name for name, other in EXPONENTIAL.items() if other.with_noise]
            raise ConfigError(
                f"eta={self.eta} with {self.method!r}, which has no stochastic form: set eta=0, or choose one of "
                f"{', '.join(able)}"
            )
        if self.adaptive is None:
            return
        if self.eta:
            raise ConfigError(
                f"eta={self.eta} with adaptive steps: the error estimate is that of the ODE; set eta=0, or use the "
                "steps of a grid"
            )
        able = [name for name, other in EXPONENTIAL.items() if other.adaptive]
        self.adaptive.check(self.method, able)

    @property
    def reversible(self) -> bool:
        return not self.eta

    def sample(
        self, score: ScoreModel, grid: Points, noise: Noise, x: Images, keep_path: bool
    ) -> Samples:
        """See Sampler.sample. The sigma of the last time must not be 0. The path of adaptive steps is interpolated.

        Along increasing times a deterministic single-step method maps data to noise.
        """
        grid = jnp.asarray(grid, x.dtype)
        alpha, lambdas = self.sde.alpha(grid), 0.5 * self.sde.log_snr(grid)

        def solve(score: ScoreModel, x_hat: Images) -> Solution:
            return self._solve(lambdas, x_hat, score, noise, keep_path)

        each_image = self.adaptive is not None and self.adaptive.each_image
        x_hat = x / alpha[0]
        solution = solve_each(solve, score, x_hat) if each_image else solve(score, x_hat)
        path = None if solution.path is None else expand(alpha, solution.path) * solution.path
        return Samples(alpha[-1] * solution.y, solution.nfe, path, solution.success)

    def _equation(
        self, lambdas: Points, noise: Noise, like: Images
    ) -> tuple[diffrax.AbstractTerm, diffrax.AbstractSolver]:
        """The terms of the equation, and the solver."""

        def prediction(lambda_: Any, x_hat: Images, score: ScoreModel) -> Images:
            return noise_at(self.sde, 2.0 * lambda_, x_hat, score)

        method, drift = EXPONENTIAL[self.method], diffrax.ODETerm(prediction)
        if not self.eta or method.with_noise is None:
            return drift, method.make(self.sde)
        brownian = ScalarNoise(lambda *_: 1.0, GridPath(lambdas, noise, like))
        return diffrax.MultiTerm(drift, brownian), method.with_noise(self.eta)

    def _solve(
        self, lambdas: Points, x_hat: Images, score: ScoreModel, noise: Noise, keep_path: bool
    ) -> Solution:
        method, adaptive = EXPONENTIAL[self.method], self.adaptive
        terms, solver = self._equation(lambdas, noise, x_hat)
        steps: dict[str, Any] = {}
        if adaptive is not None:
            controller = UnitController(rtol=adaptive.rtol, atol=adaptive.atol)
            steps = own_steps(lambdas[-1] - lambdas[0], controller)
        return solve_along(
            lambdas, terms, solver, x_hat, score, keep_path, method.evaluations, **steps
        )
