"""The trigonometric process of consistency models (Lu & Song 2024, TrigFlow)."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from score_sde.options import option, positive
from score_sde.sde_lib.base import SDE
from score_sde.sde_lib.quarter_turn import QuarterTurn
from score_sde.shapes import Broadcast, Elements

# There sigma/alpha = 160 sigma_data: 80 for sigma_data = 0.5, as in EDM.
END = float(np.float32(math.atan(160.0)))


@dataclasses.dataclass(frozen=True)
class Trigonometric(SDE):
    """alpha = cos t, sigma = sigma_data sin t, for t up to arctan(160) = 1.5645; x_t keeps the variance of the data at all times."""

    T: ClassVar[float] = END

    sigma_data: float = option(
        0.5, "predicts=edm, weighting=edm: standard deviation of the scaled data", positive
    )

    _TURN: ClassVar[QuarterTurn] = QuarterTurn(0.0, 0.5 * math.pi - END, END)

    def alpha(self, t: Elements) -> Elements:
        return self._TURN.cos(t)

    def sigma(self, t: Elements) -> Elements:
        return self.sigma_data * self._TURN.sin(t)

    def alpha_rate(self, t: Elements) -> Elements:
        return -self._TURN.sin(t)

    def sigma_rate(self, t: Elements) -> Elements:
        return self.sigma_data * self._TURN.cos(t)

    def variance_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        sines = self._TURN.sin_of_difference(s, t) * self._TURN.sin_of_sum(s, t)
        return jnp.square(self.sigma_data / self._TURN.cos(s)) * sines

    def time_of_log_snr(self, log_snr: Elements) -> Elements:
        return jnp.arctan(jnp.exp(-0.5 * log_snr) / self.sigma_data)

    def drift_coefficient(self, t: Elements) -> Elements:
        return -self._TURN.tan(t)

    def diffusion_squared(self, t: Elements) -> Elements:
        return 2.0 * self.sigma_data**2 * self._TURN.tan(t)
