"""EDM's Heun sampler with churn (Karras et al. 2022, Alg. 2), for every process.

Divided by alpha, the state of any process follows the flow dx_hat/drho = eps_hat, rho = sigma/alpha, of the process whose
noise level is rho itself. In these variables a step first adds noise to raise rho to rho_hat = (1 + gamma) rho, and then
takes a step of Heun's method along the flow from rho_hat down to the next rho.
"""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.models.score import ScoreModel, predicted_noise, score_at
from score_sde.samplers.noise import Noise
from score_sde.samplers.predictors import batch_times
from score_sde.samplers.stepping import SteppedSampler
from score_sde.sde_lib import SDE
from score_sde.shapes import Images, Index, Points, Scalar

MAX_GAMMA = math.sqrt(2.0) - 1.0  # at most as much new noise as is already present


@dataclasses.dataclass(frozen=True)
class EDMSampler(SteppedSampler):
    """Heun steps with churn gamma = min(S_churn/N, sqrt(2) - 1) where S_min <= rho <= S_max, else 0; S_noise scales the new noise.

    N is the number of times in the grid: as in the paper, it counts the steps and the final Euler step to rho = 0, which is
    the Tweedie step and not taken here. rho_hat is limited to rho(T), where the process ends, so a first step from T adds no
    noise; the paper's does. S_churn = 0 adds no noise and solves the ODE. Order 1 omits Heun's correction: Euler's method,
    which without churn is DDIM.

    Cost: `order` evaluations per step.

    Raises:
      ConfigError: a setting outside its range.
    """

    sde: SDE
    s_churn: float = 0.0
    s_min: float = 0.0
    s_max: float = math.inf
    s_noise: float = 1.0
    order: int = 2

    def __post_init__(self):
        if not 0 <= self.s_churn < math.inf:
            raise ConfigError(f"s_churn={self.s_churn}: expected a number >= 0; 0 is no churn")
        if not 0 <= self.s_min <= self.s_max:
            raise ConfigError(
                f"s_min={self.s_min}, s_max={self.s_max}: expected 0 <= s_min <= s_max, values of sigma/alpha"
            )
        if not 0 < self.s_noise < math.inf:
            raise ConfigError(f"s_noise={self.s_noise}: expected a positive number, such as 1.003")
        if self.order not in (1, 2):
            raise ConfigError(f"order={self.order}: expected 1, Euler's method, or 2, Heun's")

    def nfe(self, num_steps: int) -> int:
        return self.order * num_steps

    def step(
        self, score: ScoreModel, grid: Points, noise: Noise, k: Index, state: Images
    ) -> Images:
        t, s = grid[k], grid[k + 1]
        x_hat = state / self.sde.alpha(t)
        if self.s_churn:
            gamma = min(self.s_churn / grid.shape[0], MAX_GAMMA)
            t, x_hat = self._churn(gamma, t, noise(k, 0, x_hat), x_hat)
        rho, slope = self._ratio(t), self._slope(score, t, x_hat)
        rise = self._ratio(s) - rho
        end = x_hat + rise * slope
        if self.order == 2:
            end = x_hat + 0.5 * rise * (slope + self._slope(score, s, end))
        return self.sde.alpha(s) * end

    def _churn(self, gamma: float, t: Scalar, z: Images, x_hat: Images) -> tuple[Scalar, Images]:
        """The time of rho_hat, and the state there, after noise is added to x_hat at t."""
        rho, limit = self._ratio(t), self._ratio(jnp.asarray(self.sde.signal_end, t.dtype))
        churned = (self.s_min <= rho) & (rho <= self.s_max)
        rho_hat = jnp.minimum(jnp.where(churned, (1.0 + gamma) * rho, rho), limit)
        raised = rho_hat > rho
        # Where nothing is added, t is kept as it is, without the rounding error of an inverse.
        later = jnp.where(raised, self.sde.time_of_log_snr(-2.0 * jnp.log(rho_hat)), t)
        added = jnp.sqrt(jnp.where(raised, rho_hat**2 - rho**2, 0.0))
        return later, x_hat + self.s_noise * added * z

    def _ratio(self, t: Scalar) -> Scalar:
        """rho = sigma/alpha."""
        return jnp.exp(-0.5 * self.sde.log_snr(t))

    def _slope(self, score: ScoreModel, t: Scalar, x_hat: Images) -> Images:
        """The slope dx_hat/drho = eps_hat at x_hat and t."""
        times = batch_times(x_hat, t)
        return predicted_noise(self.sde, score_at(score, self.sde.alpha(t) * x_hat, times), times)
