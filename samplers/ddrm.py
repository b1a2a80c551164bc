"""DDRM: restores each mode of A as far as the noise of its measurement allows (Kawar et al. 2022).

In x / alpha, whose noise at time t has standard deviation rho = sigma / alpha, a mode with singular value s was measured as
y' = (U^T y) / s with noise of standard deviation n = sigma_y / s. A step takes a state at rho_t to one at rho; with x_hat
the denoised image, its modes are

    s = 0:       x_hat + sqrt(1 - eta^2) rho (x - x_hat) / rho_t + eta rho z
    rho < n:     x_hat + sqrt(1 - eta^2) rho (y' - x_hat) / n    + eta rho z
    rho >= n:    (1 - eta_b) x_hat + eta_b y'                    + sqrt(rho^2 - eta_b^2 n^2) z.

In this form it applies to every process. It is a Markov chain of its own, not a discretization of the posterior's reverse
process.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.guidance.posterior import Unguided
from score_sde.measurements.measurement import Measurement, spectral
from score_sde.models.score import ScoreModel
from score_sde.samplers.noise import Noise
from score_sde.samplers.predictors import tweedie
from score_sde.samplers.stepping import SteppedSampler
from score_sde.sde_lib import SDE
from score_sde.shapes import Images, Index, Points


def restoring(model: ScoreModel, measurement: Measurement, sde: SDE) -> Unguided:
    """The score model for DDRM, to which y is bound as {"measured": y}.

    Raises:
      ConfigError: the singular values of A are not known.
    """
    spectral(measurement, "DDRM")
    return Unguided(model, measurement, sde)


@dataclasses.dataclass(frozen=True)
class DDRM(SteppedSampler):
    """The DDRM chain from the prior. With `to_data` the last step goes to rho = 0, where A x_0 = y to rounding if sigma_y = 0.

    The paper starts measured modes around y. Here they start like the others, which only affects x_hat in the first step.

    Raises:
      ConfigError: eta or eta_b outside [0, 1].
    """

    sde: SDE
    eta: float = 0.85
    eta_b: float = 1.0
    to_data: bool = False

    def __post_init__(self):
        if not (0 <= self.eta <= 1 and 0 <= self.eta_b <= 1):
            raise ConfigError(
                f"DDRM with eta={self.eta}, eta_b={self.eta_b}: expected both in [0, 1]"
            )

    def nfe(self, num_steps: int) -> int:
        return num_steps

    def step(self, score: Any, grid: Points, noise: Noise, k: Index, state: Images) -> Images:
        t, s = grid[k], grid[k + 1]
        linear = spectral(score.measurement, "DDRM")
        values = linear.singular_values[None]
        seen, divisor = values > 0, jnp.where(values > 0, values, 1.0)
        x_hat = linear.modes(tweedie(score, self.sde, state, t))
        x = linear.modes(state / self.sde.alpha(t))
        measured = linear.measured_modes(score.measured()) / divisor
        n = score.measurement.std / divisor
        alpha, rho_t = self.sde.alpha(s), self.sde.sigma(t) / self.sde.alpha(t)
        rho = self.sde.sigma(s) / alpha
        if self.to_data:
            last = k == grid.shape[0] - 2
            alpha, rho = jnp.where(last, 1.0, alpha), jnp.where(last, 0.0, rho)

        clear = rho >= n
        towards = jnp.where(
            seen, (measured - x_hat) / jnp.where(n > 0, n, 1.0), (x - x_hat) / rho_t
        )
        kept = x_hat + jnp.sqrt(1.0 - self.eta**2) * rho * towards
        fitted = (1.0 - self.eta_b) * x_hat + self.eta_b * measured
        new = jnp.sqrt(jnp.maximum(rho**2 - jnp.square(self.eta_b * n), 0.0))
        mean = jnp.where(seen & clear, fitted, kept)
        return alpha * linear.image(
            mean + jnp.where(seen & clear, new, self.eta * rho) * noise(k, 0, state)
        )
