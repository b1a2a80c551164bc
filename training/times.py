"""At which times a network is trained: a density p(t) on [eps, T], and what makes up for it.

A loss is the mean of w(t) l(t) over *uniform* t. Drawn from another density, every value is multiplied by

    correction(t) = 1 / ((T - eps) p(t)),

so that the expectation, hence what is learnt, stays the same: `training.times` decides the variance of the
gradient only, and `training.weighting` the objective. Where w / p is constant, time adds no variance of its own
but through l: `log_snr` under the likelihood weighting (Song et al. 2021b, Sec. 4.3; Kingma et al. 2021, Sec. 4.2).

Times are functions of u in [0, 1), the inverse of the distribution function; who draws u (training/draws.py)
decides how they are spread over a batch.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Protocol, Self

import jax.numpy as jnp
from jax.scipy.stats import norm

from score_sde.errors import ConfigError
from score_sde.options import choose
from score_sde.sde_lib import SDE
from score_sde.shapes import Elements, Scalar


class Times(Protocol):
    """A density of training times."""

    def at(self, u: Elements) -> Elements:
        """The time in [eps, T] below which a share u of the density lies."""
        ...

    def correction(self, t: Elements) -> Elements:
        """The density of uniform times relative to this one."""
        ...


@dataclasses.dataclass(frozen=True)
class Interval:
    """From eps to the end of the process."""

    sde: SDE
    eps: float

    @classmethod
    def from_config(cls, config: Any, sde: SDE) -> Self:
        return cls(sde, config.training.eps)


class UniformTimes(Interval):
    """p(t) = 1 / (T - eps)."""

    def at(self, u: Elements) -> Elements:
        return self.eps + u * (self.sde.T - self.eps)

    def correction(self, t: Elements) -> Elements:
        return jnp.ones_like(t)


class LogSNRTimes(Interval):
    """Uniform in the log-SNR: p(t) = g^2/sigma^2 / (log_snr(eps) - log_snr(T)), as -d log_snr/dt = g^2/sigma^2."""

    def at(self, u: Elements) -> Elements:
        first, last = log_snr_range(self.sde, self.eps, u.dtype)
        t = self.sde.time_of_log_snr(first + u * (last - first))
        return jnp.clip(t, self.eps, self.sde.T)  # rounding leads beyond the ends

    def correction(self, t: Elements) -> Elements:
        first, last = log_snr_range(self.sde, self.eps, t.dtype)
        rate = self.sde.diffusion_squared(t) / jnp.square(self.sde.sigma(t))
        return (first - last) / ((self.sde.T - self.eps) * rate)


@dataclasses.dataclass(frozen=True)
class LogNormalTimes(Interval):
    """ln(sigma/alpha) ~ N(mean, std^2) (Karras et al. 2022, Table 1), cut off at eps and T."""

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self):
        if not self.std > 0:
            raise ConfigError(f"training.log_normal_std={self.std}: expected a positive number")
        if not self.share(jnp.float32)[1] > 1e-3:
            raise ConfigError(
                f"training.log_normal_mean={self.mean}, log_normal_std={self.std}: less than a thousandth of these "
                "times lies in [training.eps, T]; move the mean to ln(sigma/alpha) of a time between"
            )

    @classmethod
    def from_config(cls, config: Any, sde: SDE) -> Self:
        training = config.training
        return cls(sde, training.eps, training.log_normal_mean, training.log_normal_std)

    def share(self, dtype: Any) -> tuple[Scalar, Scalar]:
        """The normal law's mass below eps, and between eps and T."""
        below, above = (norm.cdf(self.standardised(t)) for t in ends(self.sde, self.eps, dtype))
        return below, above - below

    def standardised(self, t: Elements) -> Elements:
        return (-0.5 * self.sde.log_snr(t) - self.mean) / self.std

    def at(self, u: Elements) -> Elements:
        below, between = self.share(u.dtype)
        log_ratio = self.mean + self.std * norm.ppf(below + u * between)
        return jnp.clip(self.sde.time_of_log_snr(-2.0 * log_ratio), self.eps, self.sde.T)

    def correction(self, t: Elements) -> Elements:
        _, between = self.share(t.dtype)
        # d ln(sigma/alpha) / dt = g^2 / (2 sigma^2)
        rate = 0.5 * self.sde.diffusion_squared(t) / jnp.square(self.sde.sigma(t))
        density = rate * jnp.exp(-0.5 * jnp.square(self.standardised(t)))
        density = density / (math.sqrt(2 * math.pi) * self.std * between)
        return 1.0 / ((self.sde.T - self.eps) * density)


def ends(sde: SDE, eps: float, dtype: Any) -> tuple[Scalar, Scalar]:
    """The first and last time, in the type of the draws."""
    return jnp.asarray(eps, dtype), jnp.asarray(sde.T, dtype)


def log_snr_range(sde: SDE, eps: float, dtype: Any) -> tuple[Scalar, Scalar]:
    """The log-SNR at eps, the larger, and at T."""
    first, last = (sde.log_snr(t) for t in ends(sde, eps, dtype))
    return first, last


TIMES: dict[str, Any] = {
    "uniform": UniformTimes,
    "log_snr": LogSNRTimes,
    "log_normal": LogNormalTimes,
}


def build_times(config: Any, sde: SDE) -> Times:
    """The times that `training.times` names.

    Raises:
      ConfigError: an unknown name, eps outside (0, T), or a log-normal law that misses [eps, T].
    """
    training = config.training
    sde.check_time("training.eps", training.eps)
    return choose("training.times", training.times, TIMES).from_config(config, sde)
