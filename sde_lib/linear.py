"""The straight path of flow matching and rectified flow (Lipman et al. 2023, Eq. 20 with sigma_min = 0 and time reversed)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from score_sde.sde_lib.base import SDE
from score_sde.shapes import Broadcast, Elements

# There alpha = 1/1024, so x_0 computed from a float32 score keeps three digits.
SIGNAL_END = 1.0 - 2.0**-10


@dataclasses.dataclass(frozen=True)
class Linear(SDE):
    """alpha = 1 - t, sigma = t, up to T = 1, where x is pure noise; velocity eps - x_0, g^2 = 2 t / (1 - t)."""

    predicts: ClassVar[str] = "flow"

    @property
    def prior_std(self) -> float:
        return 1.0

    @property
    def signal_end(self) -> float:
        return SIGNAL_END

    def alpha(self, t: Elements) -> Elements:
        return 1.0 - t

    def sigma(self, t: Elements) -> Elements:
        return jnp.asarray(t)

    def log_alpha(self, t: Elements) -> Elements:
        return jnp.log1p(-t)

    def time_of_log_snr(self, log_snr: Elements) -> Elements:
        return jax.nn.sigmoid(-0.5 * log_snr)

    def alpha_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        return (1.0 - t) / (1.0 - s)

    def variance_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        """t^2 - ((1 - t)/(1 - s))^2 s^2, factored to avoid cancellation."""
        return (t - s) * (t * (1.0 - s) + s * (1.0 - t)) / jnp.square(1.0 - s)

    def drift_coefficient(self, t: Elements) -> Elements:
        return -1.0 / (1.0 - t)

    def diffusion_squared(self, t: Elements) -> Elements:
        return 2.0 * t / (1.0 - t)
