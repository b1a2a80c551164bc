"""The cosine schedule between two log-SNRs, shifted for the image resolution (Hoogeboom et al. 2023, simple diffusion, Sec. 3.1)."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.options import finite, option
from score_sde.sde_lib.base import SDE
from score_sde.sde_lib.quarter_turn import QuarterTurn
from score_sde.shapes import Broadcast, Elements

number = finite("a number from -50 to 50", lambda x: abs(x) <= 50, -51, 51)


@dataclasses.dataclass(frozen=True)
class ShiftedCosine(SDE):
    """log-SNR = -2 ln tan(u) + shift, with u linear in time between the angles of two log-SNRs; alpha^2 + sigma^2 = 1.

    With a shift of 2 ln(64/d), images of d pixels a side have, once averaged down to 64, the noise of the unshifted schedule.
    """

    log_snr_max: float = option(15.0, "shifted_cosine: log-SNR at t = 0 before the shift", number)
    log_snr_min: float = option(-15.0, "... and at t = 1", number)
    log_snr_shift: float = option(
        0.0, "... and the shift, for instance 2 ln(64 / pixels per side): -2.77 for 256", number
    )

    def __post_init__(self):
        if not self.log_snr_min < self.log_snr_max:
            raise ConfigError(
                f"log_snr_min={self.log_snr_min}, log_snr_max={self.log_snr_max}: expected log_snr_min < log_snr_max"
            )

    @property
    def prior_std(self) -> float:
        return 1.0

    @property
    def _turn(self) -> QuarterTurn:
        first = math.atan(math.exp(-0.5 * self.log_snr_max))
        return QuarterTurn(first, math.atan(math.exp(0.5 * self.log_snr_min)), self.T)

    @property
    def _slope(self) -> float:
        """(sigma / alpha) / tan u."""
        return math.exp(-0.5 * self.log_snr_shift)

    def _length(self, t: Elements) -> Elements:
        # Not jnp.hypot: its derivative is wrong on a CPU with XLA's optimizations off, as in the tests.
        cos, sin = self._turn.cos(t), self._slope * self._turn.sin(t)
        return jnp.sqrt(cos * cos + sin * sin)

    def alpha(self, t: Elements) -> Elements:
        return self._turn.cos(t) / self._length(t)

    def sigma(self, t: Elements) -> Elements:
        return self._slope * self._turn.sin(t) / self._length(t)

    def log_snr(self, t: Elements) -> Elements:
        return -2.0 * jnp.log(self._turn.tan(t)) + self.log_snr_shift

    def time_of_log_snr(self, log_snr: Elements) -> Elements:
        return self._turn.time_of_angle(jnp.arctan(jnp.exp(0.5 * (self.log_snr_shift - log_snr))))

    def variance_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        """alpha_t^2 slope^2 (tan^2 u_t - tan^2 u_s), computed without cancellation."""
        turn = self._turn
        sines = turn.sin_of_difference(s, t) * turn.sin_of_sum(s, t)
        return jnp.square(self._slope / (self._length(t) * turn.cos(s))) * sines

    def drift_coefficient(self, t: Elements) -> Elements:
        return -0.5 * self.diffusion_squared(t)

    def diffusion_squared(self, t: Elements) -> Elements:
        turn = self._turn
        return 2.0 * turn.rate * turn.tan(t) * jnp.square(self._slope / self._length(t))
