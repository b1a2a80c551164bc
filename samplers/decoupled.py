"""Samplers that go through whole images: DAPS, PnP-DM and DiffPIR's own sampler.

Between two times they go to an image x_0 and, with fresh noise, back to x_s = alpha x_0 + sigma z, so that a state need not
stay close to the previous one.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.guidance.posterior import Unguided
from score_sde.measurements.measurement import Measurement
from score_sde.models.score import ScoreModel
from score_sde.samplers.given_gaussian import Exact, GivenMeasurement
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.noise import Noise
from score_sde.samplers.predictors import Predictor, ancestral_forward, tweedie
from score_sde.samplers.stepping import SteppedSampler
from score_sde.sde_lib import SDE
from score_sde.shapes import Images, Index, Points, Scalar


def splitting(
    model: ScoreModel, measurement: Measurement, sde: SDE, draw: GivenMeasurement | None = None
) -> Unguided:
    """The score model for DAPS and PnP-DM with this `draw` (exact if None); y is bound to it as {"measured": y}.

    Raises:
      ConfigError: the draw does not support this measurement.
    """
    (draw or Exact()).check(measurement)
    return Unguided(model, measurement, sde)


def _noise_to_signal(sde: SDE, t: Scalar) -> Scalar:
    return sde.sigma(t) / sde.alpha(t)


@dataclasses.dataclass(frozen=True)
class DAPS(SteppedSampler):
    """Decoupled annealing (Zhang et al. 2024): draw x_0 from N(x_hat, r^2 I) given y, then x_s from x_0.

    x_hat is the end of `ode_steps` DDIM steps from x_t, the last of which is a Tweedie step; r = `scale` sigma / alpha. The
    Gaussian N(x_hat, r^2 I) only approximates x_0 given x_t: for Gaussian data the covariance of x_0 given x_t is constant,
    but not a multiple of I. Noise slots: z, then those of the draw. Cost: `ode_steps` evaluations per step, and no product
    with the Jacobian.

    Raises:
      ConfigError: fewer than one step of the ODE, or a scale that is not positive.
    """

    sde: SDE
    draw: GivenMeasurement = Exact()
    ode_steps: int = 5
    scale: float = 1.0

    def __post_init__(self):
        if self.ode_steps < 1 or not self.scale > 0:
            raise ConfigError(
                f"DAPS with ode_steps={self.ode_steps}, scale={self.scale}: expected 1 or more steps and a positive scale"
            )

    def nfe(self, num_steps: int) -> int:
        return num_steps * self.ode_steps

    def step(self, score: Any, grid: Points, noise: Noise, k: Index, state: Images) -> Images:
        t, s = grid[k], grid[k + 1]
        x_hat = self._image(score, state, t, grid[-1])
        variance = jnp.square(self.scale * _noise_to_signal(self.sde, t))
        y = score.measured()
        x_0 = self.draw.draw(
            score.measurement, y, x_hat, variance, lambda j: noise(k, 1 + j, state)
        )
        return self.sde.alpha(s) * x_0 + self.sde.sigma(s) * noise(k, 0, state)

    def _image(self, score: Any, x: Images, t: Scalar, eps: Scalar) -> Images:
        """The end of the probability-flow ODE started from x at t."""
        times = log_snr_grid(self.sde, t, eps, self.ode_steps)

        def ddim(j: Index, x: Images) -> Images:
            x_hat = tweedie(score, self.sde, x, times[j])
            towards = (x - self.sde.alpha(times[j]) * x_hat) / self.sde.sigma(times[j])
            then = times[j + 1]
            return self.sde.alpha(then) * x_hat + self.sde.sigma(then) * towards

        last = self.ode_steps - 1
        return tweedie(score, self.sde, jax.lax.fori_loop(0, last, ddim, x), times[last])


@dataclasses.dataclass(frozen=True)
class PnPDM(SteppedSampler):
    """Split Gibbs sampling of p(x) N(z; x, eta^2 I) p(y | z) (Wu et al. 2024), with eta decreasing along the grid.

    Each step draws z given x and y, and then x given z. The latter runs the reverse process from the time at which sigma /
    alpha = eta, where z is x plus noise, in `prior_steps` predictor steps to the end of the grid, whose state is taken as
    the image. eta is sigma / alpha at the time at which a step begins, but at least `coupling`; once it stays there, the
    distribution of x converges to the posterior for noise of covariance sigma_y^2 I + eta^2 A A^T. The chain starts from the
    prior's noise scaled to unit size, which is negligible against eta at T. Noise slots: the draw's, then the predictor's.
    Cost: `prior_steps` evaluations per step, and no product with the Jacobian.

    Raises:
      ConfigError: fewer than one step of the prior, or a coupling outside [0, sigma / alpha at T].
    """

    sde: SDE
    coupling: float = 0.0
    prior_steps: int = 20
    draw: GivenMeasurement = Exact()
    predictor: Predictor = ancestral_forward

    def __post_init__(self):
        most = float(_noise_to_signal(self.sde, jnp.asarray(self.sde.signal_end)))
        if self.prior_steps < 1 or not 0 <= self.coupling <= most:
            raise ConfigError(
                f"PnP-DM with coupling={self.coupling}, prior_steps={self.prior_steps}: expected a coupling in [0, {most:.4g}], "
                "sigma / alpha at T, and 1 or more steps"
            )

    def nfe(self, num_steps: int) -> int:
        return num_steps * self.prior_steps

    def begin(self, x: Images) -> Images:
        # Unscaled, the prior would be as large as eta where alpha is 1.
        return x / self.sde.prior_std

    def step(self, score: Any, grid: Points, noise: Noise, k: Index, state: Images) -> Images:
        eps = grid[-1]
        eta = jnp.maximum(self.coupling, _noise_to_signal(self.sde, grid[k]))
        t = self.sde.time_of_log_snr(-2.0 * jnp.log(eta))
        y, x = score.measured(), state / self.sde.alpha(eps)
        z = self.draw.draw(score.measurement, y, x, jnp.square(eta), lambda j: noise(k, j, state))
        times, first = log_snr_grid(self.sde, t, eps, self.prior_steps), self.draw.slots

        def down(j: Index, x: Images) -> Images:
            at = noise(k, first + j, x)
            return self.predictor(score, self.sde, x, times[j], times[j + 1], at)

        return jax.lax.fori_loop(0, self.prior_steps, down, self.sde.alpha(t) * z)


@dataclasses.dataclass(frozen=True)
class Renoised(SteppedSampler):
    """DiffPIR's own sampler (Zhu et al. 2023): x_s = alpha x_hat + sigma (sqrt(1 - zeta) e + sqrt(zeta) z).

    x_hat is the denoised image of a score that `diffpir` or `ddnm` has moved towards y, and e = (x_t - alpha x_hat) / sigma
    the noise that this leaves in x_t. With zeta = 0 it is DDIM with that score. Noise slot: z. Cost: one evaluation per
    step.

    Raises:
      ConfigError: zeta outside [0, 1].
    """

    sde: SDE
    zeta: float = 0.3

    def __post_init__(self):
        if not 0 <= self.zeta <= 1:
            raise ConfigError(f"DiffPIR with zeta={self.zeta}: expected it in [0, 1]")

    def nfe(self, num_steps: int) -> int:
        return num_steps

    def step(self, score: Any, grid: Points, noise: Noise, k: Index, state: Images) -> Images:
        t, s = grid[k], grid[k + 1]
        x_hat = tweedie(score, self.sde, state, t)
        left = (state - self.sde.alpha(t) * x_hat) / self.sde.sigma(t)
        mixed = jnp.sqrt(1.0 - self.zeta) * left + jnp.sqrt(self.zeta) * noise(k, 0, state)
        return self.sde.alpha(s) * x_hat + self.sde.sigma(s) * mixed
