"""Training times: a density p(t) on [eps, T], and the correction that keeps the objective independent of it.

A loss is the mean of w(t) l(t) over *uniform* t. If t is sampled from another density, every value is multiplied by

    correction(t) = 1 / ((T - eps) p(t)),

so the expectation, and with it the objective, stays the same: `training.times` affects only the variance of the
gradient, and `training.weighting` the objective. If w / p is constant, as for `log_snr` with the likelihood weighting,
the random time contributes variance only through l (Song et al. 2021b, Sec. 4.3; Kingma et al. 2021, Sec. 4.2).

Two exceptions: the objective lacks times that are never drawn (training/undrawn.py), and with
`training.learned_uncertainty` it is p that weights the noise levels (`UncertainLoss`).

Times are computed from u in [0, 1) by the inverse distribution function; the caller who samples u (training/draws.py)
determines how they are spread over a batch.

T is the end of the process for a loss that is finite there, as for flow matching. For all others it is `SDE.signal_end`,
the last time at which the log-SNR is finite.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any, ClassVar, Protocol, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from score_sde.errors import ConfigError
from score_sde.options import choose
from score_sde.sde_lib import SDE
from score_sde.shapes import Elements, Scalar


class Times(Protocol):
    """A density of training times."""

    @property
    def eps(self) -> float:
        """The first time."""
        ...

    @property
    def end(self) -> float:
        """The last time, T or `SDE.signal_end`."""
        ...

    def at(self, u: Elements) -> Elements:
        """Return the time in [eps, T] below which a fraction u of the probability mass lies."""
        ...

    def correction(self, t: Elements) -> Elements:
        """Return the ratio of the uniform density to this one at t."""
        ...


@dataclasses.dataclass(frozen=True)
class Interval:
    """The interval [eps, end], with `end` the last time of a finite log-SNR, or T if `to_noise`."""

    sde: SDE
    eps: float
    to_noise: bool = False

    @classmethod
    def from_config(cls, config: Any, sde: SDE, to_noise: bool = False) -> Self:
        return cls(sde, config.training.eps, to_noise)

    @property
    def end(self) -> float:
        return self.sde.T if self.to_noise else self.sde.signal_end


class UniformTimes(Interval):
    """p(t) = 1 / (T - eps)."""

    def at(self, u: Elements) -> Elements:
        return self.eps + u * (self.end - self.eps)

    def correction(self, t: Elements) -> Elements:
        return jnp.ones_like(t)


@dataclasses.dataclass(frozen=True)
class LogSNRTimes(Interval):
    """Times uniform in the log-SNR: p(t) = g^2/sigma^2 / (log_snr(eps) - log_snr(T)), since -d log_snr/dt = g^2/sigma^2."""

    def __post_init__(self):
        if self.end > self.sde.signal_end:
            raise ConfigError(
                f"training.times='log_snr' with a flow weighting under {type(self.sde).__name__}: the loss has times up to T={self.end:g}, where "
                f"the log-SNR is -inf, and those after t={self.sde.signal_end:.6g} would never be drawn; set training.times to uniform or "
                "logit_normal (a run that began with log_snr keeps it: continue its weights in another --workdir, with training.init_from=its folder)"
            )

    def at(self, u: Elements) -> Elements:
        first, last = self._range(u.dtype)
        t = self.sde.time_of_log_snr(first + u * (last - first))
        return jnp.clip(t, self.eps, self.sde.signal_end)  # rounding can lead beyond the ends

    def correction(self, t: Elements) -> Elements:
        first, last = self._range(t.dtype)
        rate = self.sde.diffusion_squared(t) / jnp.square(self.sde.sigma(t))
        return (first - last) / ((self.end - self.eps) * rate)

    def _range(self, dtype: Any) -> tuple[Scalar, Scalar]:
        """Return the log-SNR at eps, the larger one, and at the last time where it is finite."""
        first, last = self.sde.log_snr(jnp.asarray([self.eps, self.sde.signal_end], dtype))
        return first, last


@dataclasses.dataclass(frozen=True)
class NormalTimes(Interval, abc.ABC):
    """Times for which a function of time, `normal`, has the distribution N(mean, std^2), truncated at both ends."""

    mean: float = 0.0
    std: float = 1.0

    KIND: ClassVar[str]
    OF: ClassVar[str]

    def __post_init__(self):
        if not self.std > 0:
            raise ConfigError(f"training.{self.KIND}_std={self.std}: expected a positive number")
        if not self.share(jnp.float32)[1] > 1e-3:
            raise ConfigError(
                f"training.{self.KIND}_mean={self.mean}, {self.KIND}_std={self.std}: less than a thousandth of these "
                f"times lies in [training.eps, T]; move the mean to {self.OF} of a time between"
            )

    @classmethod
    def from_config(cls, config: Any, sde: SDE, to_noise: bool = False) -> Self:
        training = config.training
        mean, std = (training[f"{cls.KIND}_{of}"] for of in ("mean", "std"))
        return cls(sde, training.eps, to_noise, mean, std)

    @abc.abstractmethod
    def normal(self, t: Elements) -> Elements:
        """Return the normally distributed function of time, which increases with t."""

    @abc.abstractmethod
    def time_of_normal(self, normal: Elements) -> Elements:
        """Invert `normal`."""

    @abc.abstractmethod
    def rate(self, t: Elements) -> Elements:
        """Return the derivative of `normal` with respect to t."""

    def share(self, dtype: Any) -> tuple[Scalar, Scalar]:
        """Return the probability mass of the untruncated distribution below eps, and between eps and the end."""
        below, above = norm.cdf(self.standardised(jnp.asarray([self.eps, self.end], dtype)))
        return below, above - below

    def standardised(self, t: Elements) -> Elements:
        return (self.normal(t) - self.mean) / self.std

    def at(self, u: Elements) -> Elements:
        below, between = self.share(u.dtype)
        fraction = below + u * between
        # The sum can round to 1, whose quantile is infinite and lies in a tail of density 0.
        one = np.asarray(1.0, u.dtype)
        fraction = jnp.where(u < 1, jnp.minimum(fraction, np.nextafter(one, 0 * one)), fraction)
        normal = self.mean + self.std * norm.ppf(fraction)
        return jnp.clip(self.time_of_normal(normal), self.eps, self.end)

    def density(self, t: Elements) -> Elements:
        """Return p(t), which is 0 at an end that the normal function maps to infinity."""
        _, between = self.share(t.dtype)
        standardised = self.standardised(t)
        density = self.rate(t) * jnp.exp(-0.5 * jnp.square(standardised))
        # There the rate may be infinite as well, and the product NaN.
        density = jnp.where(jnp.isfinite(standardised), density, 0.0)
        return density / (math.sqrt(2 * math.pi) * self.std * between)

    def correction(self, t: Elements) -> Elements:
        return 1.0 / ((self.end - self.eps) * self.density(t))


class LogNormalTimes(NormalTimes):
    """Times with ln(sigma/alpha) ~ N(mean, std^2) (Karras et al. 2022, Table 1), truncated at both ends."""

    KIND: ClassVar[str] = "log_normal"
    OF: ClassVar[str] = "ln(sigma/alpha)"

    def normal(self, t: Elements) -> Elements:
        return -0.5 * self.sde.log_snr(t)

    def time_of_normal(self, normal: Elements) -> Elements:
        return self.sde.time_of_log_snr(-2.0 * normal)

    def rate(self, t: Elements) -> Elements:
        # d ln(sigma/alpha) / dt = g^2 / (2 sigma^2)
        return 0.5 * self.sde.diffusion_squared(t) / jnp.square(self.sde.sigma(t))


class LogitNormalTimes(NormalTimes):
    """Times with ln(t / (T - t)) ~ N(mean, std^2) (Esser et al. 2024, Sec. 3.1), truncated at eps; denser in the middle."""

    KIND: ClassVar[str] = "logit_normal"
    OF: ClassVar[str] = "ln(t / (T - t))"

    def normal(self, t: Elements) -> Elements:
        return jnp.log(t) - jnp.log(self.sde.T - t)

    def time_of_normal(self, normal: Elements) -> Elements:
        # In float32 the sigmoid is 1 from 17 on, and at T itself the density would be an infinite rate times 0.
        end = np.asarray(self.sde.T, normal.dtype)
        last = np.nextafter(end, np.zeros_like(end))
        return jnp.minimum(self.sde.T * jax.nn.sigmoid(normal), last)

    def rate(self, t: Elements) -> Elements:
        return self.sde.T / (t * (self.sde.T - t))


TIMES: dict[str, Any] = {
    "uniform": UniformTimes,
    "log_snr": LogSNRTimes,
    "log_normal": LogNormalTimes,
    "logit_normal": LogitNormalTimes,
}


def build_times(config: Any, sde: SDE, to_noise: bool = False) -> Times:
    """Build the density of times that `training.times` names, up to T itself if `to_noise`.

    Raises:
      ConfigError: the name is unknown, eps is outside (0, T), or a normal distribution has almost no mass in [eps, T].
    """
    training = config.training
    sde.check_time("training.eps", training.eps)
    return choose("training.times", training.times, TIMES).from_config(config, sde, to_noise)
