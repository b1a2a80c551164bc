"""The base of VP and sub-VP: mean coefficient exp(-B(t)/2) with a linear rate beta(t)."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.options import option, positive
from score_sde.sde_lib.base import SDE
from score_sde.shapes import Broadcast, Elements


@dataclasses.dataclass(frozen=True)
class LinearBeta(SDE):
    """beta(t) = beta_min + t (beta_max - beta_min), and B(t) its integral from 0 (Song et al. 2021, Eq. 32)."""

    beta_min: float = option(0.1, "VP, sub-VP: beta(t) at t = 0 ...", positive)
    beta_max: float = option(20.0, "... and at t = 1", positive)

    def __post_init__(self):
        if not 0 < self.beta_min <= self.beta_max:
            raise ConfigError(
                f"beta_min={self.beta_min}, beta_max={self.beta_max}: expected 0 < beta_min <= beta_max"
            )

    @property
    def prior_std(self) -> float:
        return 1.0

    def beta(self, t: Elements) -> Elements:
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def beta_integral(self, t: Elements) -> Elements:
        """B(t), the integral of beta from 0 to t."""
        return t * (self.beta_min + 0.5 * t * (self.beta_max - self.beta_min))

    def beta_integral_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        """B(t) - B(s), computed without cancellation."""
        return (t - s) * (self.beta_min + 0.5 * (t + s) * (self.beta_max - self.beta_min))

    def time_of_beta_integral(self, integral: Elements) -> Elements:
        """The time t at which B(t) equals `integral`: the root of the quadratic, in the form that does not cancel near 0."""
        slope = self.beta_max - self.beta_min
        return (
            2.0 * integral / (self.beta_min + jnp.sqrt(self.beta_min**2 + 2.0 * slope * integral))
        )

    def alpha(self, t: Elements) -> Elements:
        return jnp.exp(self.log_alpha(t))

    def log_alpha(self, t: Elements) -> Elements:
        return -0.5 * self.beta_integral(t)

    def alpha_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        return jnp.exp(-0.5 * self.beta_integral_between(s, t))

    def drift_coefficient(self, t: Elements) -> Elements:
        return -0.5 * self.beta(t)
