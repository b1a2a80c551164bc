"""The variance-exploding SDE, the continuous limit of SMLD / NCSN (Song et al. 2021, Eq. 9 and 30-31)."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.options import option, positive
from score_sde.sde_lib.base import SDE
from score_sde.sde_lib.chains import SMLDChain
from score_sde.shapes import Broadcast, Elements


@dataclasses.dataclass(frozen=True)
class VE(SDE):
    """alpha = 1, sigma = sigma_min (sigma_max/sigma_min)^t, g^2 = 2 sigma^2 ln(sigma_max/sigma_min).

    sigma(0) is sigma_min, not 0: the kernel x_t | x_0 starts from clean data, and no time has less noise than
    sigma_min. The prior N(0, sigma_max^2 I) neglects the mean and variance of the data, a known error of VE
    that reported likelihoods include.
    """

    predicts: ClassVar[str] = "score"

    sigma_min: float = option(
        0.01,
        "VE: standard deviation of the noise at t = 0, in units of the scaled data ...",
        positive,
    )
    sigma_max: float = option(
        50.0, "... and at t = 1; about the largest distance between two images", positive
    )

    def __post_init__(self):
        if not 0 < self.sigma_min < self.sigma_max:
            raise ConfigError(
                f"sigma_min={self.sigma_min}, sigma_max={self.sigma_max}: "
                "expected 0 < sigma_min < sigma_max"
            )

    @property
    def prior_std(self) -> float:
        return self.sigma_max

    @property
    def log_ratio(self) -> float:
        """ln(sigma_max / sigma_min)."""
        return math.log(self.sigma_max / self.sigma_min)

    def alpha(self, t: Elements) -> Elements:
        return jnp.ones_like(t)

    def log_alpha(self, t: Elements) -> Elements:
        return jnp.zeros_like(t)

    def sigma(self, t: Elements) -> Elements:
        return self.sigma_min * jnp.exp(t * self.log_ratio)

    def log_snr(self, t: Elements) -> Elements:
        return -2.0 * (math.log(self.sigma_min) + t * self.log_ratio)

    def time_of_log_snr(self, log_snr: Elements) -> Elements:
        return (-0.5 * log_snr - math.log(self.sigma_min)) / self.log_ratio

    def variance_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        return jnp.square(self.sigma(s)) * jnp.expm1(2.0 * self.log_ratio * (t - s))

    def drift_coefficient(self, t: Elements) -> Elements:
        return jnp.zeros_like(t)

    def diffusion_squared(self, t: Elements) -> Elements:
        return 2.0 * self.log_ratio * jnp.square(self.sigma(t))

    def chain(self, num_scales: int) -> SMLDChain:
        return SMLDChain(num_scales, self.sigma_min, self.sigma_max)
