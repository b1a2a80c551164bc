"""The sub-VP SDE, whose variance is bounded by that of VP, proposed for its likelihoods (Song et al. 2021, Eq. 28-29)."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from score_sde.sde_lib.linear_beta import LinearBeta
from score_sde.shapes import Broadcast, Elements


@dataclasses.dataclass(frozen=True)
class SubVP(LinearBeta):
    """alpha = exp(-B/2), sigma = 1 - exp(-B) (no square root), g^2 = beta (1 - exp(-2B)); prior N(0, I).

    It has no published discrete chain; all samplers work from alpha and sigma.
    """

    def sigma(self, t: Elements) -> Elements:
        return -jnp.expm1(-self.beta_integral(t))

    def sigma_rate(self, t: Elements) -> Elements:
        # beta exp(-B); differentiating expm1 would lose digits where B is large
        return self.beta(t) * jnp.square(self.alpha(t))

    def log_snr(self, t: Elements) -> Elements:
        integral = self.beta_integral(t)
        return -integral - 2.0 * jnp.log(-jnp.expm1(-integral))

    def time_of_log_snr(self, log_snr: Elements) -> Elements:
        # sigma/alpha = 2 sinh(B/2)
        return self.time_of_beta_integral(2.0 * jnp.arcsinh(0.5 * jnp.exp(-0.5 * log_snr)))

    def variance_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        # sigma_t^2 - a^2 sigma_s^2 factors into (1 - exp(-(B_t - B_s))) (1 - exp(-(B_t + B_s)))
        both = self.beta_integral(t) + self.beta_integral(s)
        return jnp.expm1(-self.beta_integral_between(s, t)) * jnp.expm1(-both)

    def diffusion_squared(self, t: Elements) -> Elements:
        return -self.beta(t) * jnp.expm1(-2.0 * self.beta_integral(t))
