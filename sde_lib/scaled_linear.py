"""VP with a rate beta(t) whose square root is linear in time, the schedule of latent diffusion (Rombach et al. 2022)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax.numpy as jnp

from score_sde.sde_lib.base import SDE
from score_sde.sde_lib.vp import VP
from score_sde.shapes import Broadcast, Elements


@dataclasses.dataclass(frozen=True)
class ScaledLinear(VP):
    """beta(t) = (a + d t)^2, a = sqrt(beta_min), d = sqrt(beta_max) - a; otherwise as VP.

    The published 1000 levels with beta from 0.00085 to 0.012 correspond to rates from 0.85 to 12.
    """

    @property
    def _a(self) -> float:
        return math.sqrt(self.beta_min)

    @property
    def _d(self) -> float:
        return math.sqrt(self.beta_max) - self._a

    def beta(self, t: Elements) -> Elements:
        return jnp.square(self._a + self._d * t)

    def beta_integral(self, t: Elements) -> Elements:
        return self.beta_integral_between(jnp.zeros_like(t), t)

    def beta_integral_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        low, high = self._a + self._d * s, self._a + self._d * t
        return (t - s) * (low * low + low * high + high * high) / 3.0

    def time_of_beta_integral(self, integral: Elements) -> Elements:
        # The root of the cubic, ((a^3 + 3 d B)^(1/3) - a) / d, without cancellation
        high = jnp.cbrt(self._a**3 + 3.0 * self._d * integral)
        return 3.0 * integral / (high * high + high * self._a + self._a**2)

    def chain(self, num_scales: int) -> Any:
        return SDE.chain(self, num_scales)
