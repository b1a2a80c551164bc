"""The cosine schedule of Improved DDPM in continuous time (Nichol & Dhariwal 2021, Eq. 17)."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from score_sde.sde_lib.base import SDE
from score_sde.sde_lib.chains import VariancePreservingChain
from score_sde.sde_lib.quarter_turn import QuarterTurn
from score_sde.shapes import Broadcast, Elements, Points

# Chosen so that the noise of the first of 1000 steps is about one of 256 pixel levels
OFFSET = 0.008
FIRST = 0.5 * math.pi * OFFSET / (1 + OFFSET)
TURN = QuarterTurn(FIRST, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Cosine(SDE):
    """alpha = cos(u) / cos(u_0) with u = pi/2 (t + s)/(1 + s), s = 0.008; sigma^2 = 1 - alpha^2; prior N(0, I).

    At t = 1 alpha would be 0 and the drift infinite, which the published chain avoids by clipping beta at 0.999. Here time ends
    2^-15 earlier, where the log-SNR is -19.9, that of the last level of the clipped chain.
    """

    T: ClassVar[float] = 1.0 - 2.0**-15

    @property
    def prior_std(self) -> float:
        return 1.0

    def alpha(self, t: Elements) -> Elements:
        return TURN.cos(t) / math.cos(FIRST)

    def sigma(self, t: Elements) -> Elements:
        return jnp.sqrt(self.variance_between(jnp.zeros_like(t), t))

    def alpha_rate(self, t: Elements) -> Elements:
        return -TURN.rate * TURN.sin(t) / math.cos(FIRST)

    def sigma_rate(self, t: Elements) -> Elements:
        # From alpha^2 + sigma^2 = 1; differentiating the square root loses all digits where alpha is small.
        return -self.alpha(t) * self.alpha_rate(t) / self.sigma(t)

    def alpha_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        return TURN.cos(t) / TURN.cos(s)

    def variance_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        """1 - cos^2 u_t / cos^2 u_s, computed without cancellation."""
        return TURN.sin_of_difference(s, t) * TURN.sin_of_sum(s, t) / jnp.square(TURN.cos(s))

    def drift_coefficient(self, t: Elements) -> Elements:
        return -TURN.rate * TURN.tan(t)

    def diffusion_squared(self, t: Elements) -> Elements:
        return 2.0 * TURN.rate * TURN.tan(t)

    def time_of_log_snr(self, log_snr: Elements) -> Elements:
        # cos^2 u = cos^2(u_0) alpha^2 and sin^2 u = sin^2(u_0) + cos^2(u_0) sigma^2
        signal, noise = jax.nn.sigmoid(log_snr), jax.nn.sigmoid(-log_snr)
        sin_squared = math.sin(FIRST) ** 2 + math.cos(FIRST) ** 2 * noise
        angle = jnp.arctan2(jnp.sqrt(sin_squared), math.cos(FIRST) * jnp.sqrt(signal))
        return TURN.time_of_angle(angle)

    def chain(self, num_scales: int) -> CosineChain:
        return CosineChain(num_scales)


LARGEST_RATE = 0.999


@dataclasses.dataclass(frozen=True)
class CosineChain(VariancePreservingChain):
    """The chain of Improved DDPM: beta_i = 1 - cos^2 u_i / cos^2 u_{i-1} at evenly spaced times in [0, 1], clipped at 0.999."""

    @property
    def betas(self) -> Points:
        ends = jnp.linspace(0.0, 1.0, self.num_scales + 1)
        return jnp.minimum(Cosine().variance_between(ends[:-1], ends[1:]), LARGEST_RATE)
