"""The variance-preserving SDE, the continuous limit of DDPM (Song et al. 2021, Eq. 11 and 33)."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from score_sde.sde_lib.chains import DDPMChain
from score_sde.sde_lib.linear_beta import LinearBeta
from score_sde.shapes import Broadcast, Elements


@dataclasses.dataclass(frozen=True)
class VP(LinearBeta):
    """alpha = exp(-B/2), sigma^2 = 1 - exp(-B), f = -beta/2, g^2 = beta; prior N(0, I).

    sigma is computed with expm1: in float32, 1 - exp(-B) is off by 2.4 % at t = 1e-5.
    """

    def sigma(self, t: Elements) -> Elements:
        return jnp.sqrt(-jnp.expm1(-self.beta_integral(t)))

    def sigma_rate(self, t: Elements) -> Elements:
        # From alpha^2 + sigma^2 = 1; differentiating the square root loses all digits where alpha is small.
        return -self.alpha(t) * self.alpha_rate(t) / self.sigma(t)

    def log_snr(self, t: Elements) -> Elements:
        # -ln(exp(B) - 1), rewritten because exp(B) overflows in float32 for B >= 88.7.
        integral = self.beta_integral(t)
        return -integral - jnp.log(-jnp.expm1(-integral))

    def time_of_log_snr(self, log_snr: Elements) -> Elements:
        return self.time_of_beta_integral(jnp.logaddexp(0.0, -log_snr))

    def variance_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        return -jnp.expm1(-self.beta_integral_between(s, t))

    def diffusion_squared(self, t: Elements) -> Elements:
        return self.beta(t)

    def chain(self, num_scales: int) -> DDPMChain:
        return DDPMChain(num_scales, self.beta_min, self.beta_max)
