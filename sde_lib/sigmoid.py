"""The sigmoid schedule of RIN (Jabri et al. 2022; Chen 2023, "On the importance of noise scheduling")."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.options import finite, option, positive
from score_sde.sde_lib.base import SDE
from score_sde.shapes import Broadcast, Elements

number = finite("a number from -50 to 50", lambda x: abs(x) <= 50, -51, 51)


@dataclasses.dataclass(frozen=True)
class Sigmoid(SDE):
    """alpha^2 falls from 1 to 0 along a segment of a logistic curve, with alpha^2 + sigma^2 = 1:

        alpha^2 = (S(b) - S(u)) / (S(b) - S(a)),  u = a + (b - a) t,  a = start/tau, b = end/tau, S(u) = 1/(1 + exp(-u)).

    At t = 1 alpha would be 0 with infinite slope, which the published code avoids by alpha^2 >= 1e-9. Here time ends 2^-15 earlier,
    at a log-SNR of -11.8 for the published parameters. Differences of S are computed as sinh of half the distance over a product of
    cosh, which keeps their digits.
    """

    T: ClassVar[float] = 1.0 - 2.0**-15

    sigmoid_start: float = option(
        -3.0, "sigmoid: argument of the logistic function at t = 0 ...", number
    )
    sigmoid_end: float = option(3.0, "... and at t = 1, both divided by ...", number)
    sigmoid_tau: float = option(0.9, "... this temperature", positive)

    def __post_init__(self):
        if not self.sigmoid_start < self.sigmoid_end:
            raise ConfigError(
                f"sigmoid_start={self.sigmoid_start}, sigmoid_end={self.sigmoid_end}: expected sigmoid_start < sigmoid_end"
            )
        if not self.half_rate <= 40:  # sinh of it in float32
            raise ConfigError(
                f"sigmoid_tau={self.sigmoid_tau}: expected at least {(self.sigmoid_end - self.sigmoid_start) / 80:g}, an 80th "
                "of sigmoid_end - sigmoid_start"
            )

    @property
    def prior_std(self) -> float:
        return 1.0

    @property
    def half_rate(self) -> float:
        """(b - a) / 2."""
        return 0.5 * (self.sigmoid_end - self.sigmoid_start) / self.sigmoid_tau

    @property
    def _cosh_at_end(self) -> float:
        return math.cosh(0.5 * self.sigmoid_end / self.sigmoid_tau)

    @property
    def _cosh_at_start(self) -> float:
        return math.cosh(0.5 * self.sigmoid_start / self.sigmoid_tau)

    def _cosh(self, t: Elements) -> Elements:
        return jnp.cosh(0.5 * self.sigmoid_start / self.sigmoid_tau + self.half_rate * t)

    def _sinh(self, length: Elements) -> Elements:
        """sinh of half the distance that u travels in a time `length`, relative to that of the whole time."""
        return jnp.sinh(self.half_rate * length) / math.sinh(self.half_rate)

    def alpha(self, t: Elements) -> Elements:
        return jnp.sqrt(self._sinh(1.0 - t) * self._cosh_at_start / self._cosh(t))

    def sigma(self, t: Elements) -> Elements:
        return jnp.sqrt(self._sinh(t) * self._cosh_at_end / self._cosh(t))

    def alpha_rate(self, t: Elements) -> Elements:
        return self.drift_coefficient(t) * self.alpha(t)

    def sigma_rate(self, t: Elements) -> Elements:
        # From alpha^2 + sigma^2 = 1; differentiating the square root loses all digits where alpha is small.
        return -self.alpha(t) * self.alpha_rate(t) / self.sigma(t)

    def log_snr(self, t: Elements) -> Elements:
        ends = math.log(self._cosh_at_start / self._cosh_at_end)
        return jnp.log(self._sinh(1.0 - t) / self._sinh(t)) + ends

    def time_of_log_snr(self, log_snr: Elements) -> Elements:
        snr = jnp.exp(log_snr) * (self._cosh_at_end / self._cosh_at_start)
        growth = 2.0 * math.sinh(self.half_rate) / (snr + math.exp(-self.half_rate))
        return jnp.log1p(growth) / (2.0 * self.half_rate)

    def alpha_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        left = self._sinh(1.0 - t) / self._sinh(1.0 - s)
        return jnp.sqrt(left * self._cosh(s) / self._cosh(t))

    def variance_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        gone = self._sinh(t - s) / self._sinh(1.0 - s)
        return gone * self._cosh_at_end / self._cosh(t)

    def drift_coefficient(self, t: Elements) -> Elements:
        return -0.5 * self.diffusion_squared(t)

    def diffusion_squared(self, t: Elements) -> Elements:
        left = jnp.sinh(self.half_rate * (1.0 - t))
        return self.half_rate * self._cosh_at_end / (self._cosh(t) * left)
