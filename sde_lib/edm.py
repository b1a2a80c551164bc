"""The process of EDM, in which time is the noise level (Karras et al. 2022, Eq. 4 with s = 1 and sigma(t) = t)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from score_sde.sde_lib.base import SDE
from score_sde.shapes import Broadcast, Elements


@dataclasses.dataclass(frozen=True)
class EDM(SDE):
    """alpha = 1, sigma = t, g^2 = 2 t, for t up to 80; prior N(0, 80^2 I)."""

    T: ClassVar[float] = 80.0

    @property
    def prior_std(self) -> float:
        return self.T

    def alpha(self, t: Elements) -> Elements:
        return jnp.ones_like(t)

    def log_alpha(self, t: Elements) -> Elements:
        return jnp.zeros_like(t)

    def sigma(self, t: Elements) -> Elements:
        return jnp.asarray(t)

    def time_of_log_snr(self, log_snr: Elements) -> Elements:
        return jnp.exp(-0.5 * jnp.asarray(log_snr))

    def variance_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        return (t - s) * (t + s)

    def drift_coefficient(self, t: Elements) -> Elements:
        return jnp.zeros_like(t)

    def diffusion_squared(self, t: Elements) -> Elements:
        return 2.0 * t
