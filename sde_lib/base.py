"""A forward process and everything that follows from it.

A forward process turns an image x0 at time 0 into noise at time T. Its law given x0 is

    x_t | x_0 ~ N(alpha(t) x_0, sigma(t)^2 I),

so two functions of time determine the process. The stochastic differential equation

    dx = f(t) x dt + g(t) dw,    f = d ln(alpha)/dt,    g^2 = d(sigma^2)/dt - 2 f sigma^2

(Song et al. 2021, Eq. 5 and App. B; Kingma et al. 2021, App. B) and its time reversals are derived from
them here. A subclass defines `alpha` and `sigma`, and overrides a derived quantity only where a closed form
is exact or keeps digits that the derived form loses.

Throughout the project time runs from data at 0 to noise at T; no function reverses this convention. Every
function of time is elementwise in t and keeps its dtype.
"""

from __future__ import annotations

import abc
import functools
import math
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from score_sde.errors import ConfigError
from score_sde.options import ABSENT, Section, absent
from score_sde.shapes import (
    Array,
    Broadcast,
    Elements,
    Images,
    PerImage,
    Scalar,
    check_shape,
)

CHECKED_TIMES = 257


class NoDiscreteForm(ConfigError):
    """An option requires a published finite chain (DDPM, SMLD), which this process does not have."""


def expand(a: PerImage | Scalar | float, x: Images) -> Float[Array, "..."]:
    """Reshape per-image values (b,) to (b, 1, ..., 1), so that they broadcast against images x (b, ...).

    Scalars are returned unchanged.
    """
    a = jnp.asarray(a)
    return a if a.ndim == 0 else a.reshape(a.shape + (1,) * (x.ndim - a.ndim))


def real_numbers(values: Any) -> Array:
    """The values as an array, whose integers have become real numbers."""
    values = jnp.asarray(values)
    return values if jnp.issubdtype(values.dtype, jnp.inexact) else values.astype(float)


def time_derivative(fn, t: Elements) -> Elements:
    """Return d fn / dt of an elementwise function, by one forward-mode pass."""
    t = real_numbers(t)
    return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]


@functools.lru_cache(maxsize=64)
def check_process(sde: SDE, t: float, dtype: Any) -> None:
    """Refuse a process whose log-SNR is not finite and strictly decreasing from t to `signal_end`, or whose alpha or sigma is not elementwise.

    Checked on an even grid in `dtype`, the one that samplers and likelihoods compute in, for the log-SNR of alpha and sigma as well as
    for the process's own `log_snr`, which may be a separate formula. Samplers and likelihoods rely on this property and would
    silently return wrong numbers without it.
    """
    times = np.linspace(t, sde.signal_end, CHECKED_TIMES, dtype=dtype)

    def at_times(of):
        return np.asarray(of(jnp.asarray(times)), float)

    with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
        for name in ("alpha", "sigma", "log_snr"):
            check_elementwise(sde, name, jnp.asarray(times))
        stated = 2.0 * (np.log(at_times(sde.alpha)) - np.log(at_times(sde.sigma)))
        refuse_rise(sde, times, stated)
        refuse_rise(sde, times, at_times(sde.log_snr))


def check_elementwise(sde: SDE, name: str, times: Array) -> None:
    """Refuse a function of time whose values do not have the shape and dtype of the times."""
    values = jnp.asarray(getattr(sde, name)(times))
    if (values.shape, values.dtype) != (times.shape, times.dtype):
        raise ConfigError(
            f"{type(sde).__name__}.{name}(t) is {values.dtype}{list(values.shape)} for times t that are {times.dtype}{list(times.shape)}: expected one "
            "value for each time, in its dtype; where it is constant, return jnp.full_like(t, its value)"
        )


def refuse_rise(sde: SDE, times: np.ndarray, log_snr: np.ndarray) -> None:
    """Refuse log-SNRs (n,) at times (n,) unless they are finite and strictly decreasing."""
    wrong = ~np.isfinite(log_snr) | (np.diff(log_snr, prepend=np.inf) >= 0)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ConfigError(
            f"{type(sde).__name__}: the log-SNR, 2 ln(alpha/sigma), must be finite and fall from t={times[0]:g} to T={sde.signal_end}, but at "
            f"t={times[at]:.4g} it is {log_snr[at]:.4g}"
            + (f" after {log_snr[at - 1]:.4g}" if at else "")
            + "; correct alpha and sigma (or log_snr), or end before that time"
        )


class SDE(Section, abc.ABC):
    """A forward process dx = f(t) x dt + g(t) dw with Gaussian kernels.

    Subclasses are frozen dataclasses and therefore hashable, so they can be static arguments of jitted functions.
    """

    T: ClassVar[float] = 1.0
    """The final time, where only noise remains."""

    predicts: ClassVar[str] = "noise"
    """What a network trained under this process predicts by default: see models/parameterization.py."""

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Build the process from `config.model`, which holds the options of all processes.

        Raises:
          ConfigError: an option is not there, as that of a process registered after the configuration was made.
        """
        values = {name: getattr(config.model, name, ABSENT) for name in cls.options()}
        for name, value in values.items():
            if value is ABSENT:
                raise absent(f"model.{name}")
        return cls(**values)

    @property
    def signal_end(self) -> float:
        """The latest time at which the log-SNR is finite: T, or an earlier time if alpha(T) = 0.

        Where alpha = 0 the score of any data distribution is -x / sigma^2 and carries no information about the image. Samplers that divide by
        alpha or work in the log-SNR therefore start here, from the same prior; the probability flow of a model
        that predicts its velocity starts at T.
        """
        return self.T

    def check_time(self, field: str, t: float) -> None:
        """Refuse a smallest time t outside (0, T), and a process that is invalid from t on (`check_process`) or not hashable."""
        if not 0 < t < self.signal_end:
            raise ConfigError(
                f"{field}={t}: expected a time between 0 and T={self.signal_end}, such as 1e-5"
            )
        try:
            hash(self)
        except TypeError as error:
            raise ConfigError(
                f"{type(self).__name__} is not hashable ({error}), as an argument of compiled functions must be: declare it "
                "@dataclasses.dataclass(frozen=True), with fields that are numbers, strings or tuples"
            ) from error
        check_process(self, t, jnp.result_type(float))

    # ---- what a subclass defines --------------------------------------------------------------

    @abc.abstractmethod
    def alpha(self, t: Elements) -> Elements:
        """Mean coefficient of x_t | x_0 ~ N(alpha x_0, sigma^2 I), dimensionless, for t in [0, T] of any shape."""

    @abc.abstractmethod
    def sigma(self, t: Elements) -> Elements:
        """Standard deviation of x_t | x_0, in the units of the images, for t in [0, T] of any shape."""

    @property
    def prior_std(self) -> float | Scalar:
        """Standard deviation of the prior N(0, prior_std^2 I), which approximates the distribution of x_T."""
        return self.sigma(jnp.asarray(self.T))

    # ---- the kernel ---------------------------------------------------------------------------

    def log_alpha(self, t: Elements) -> Elements:
        """ln alpha(t); -inf where alpha is 0."""
        return jnp.log(self.alpha(t))

    def log_snr(self, t: Elements) -> Elements:
        """Log signal-to-noise ratio ln(alpha^2 / sigma^2) (Kingma et al. 2021, Sec. 3.1), natural logarithm, decreasing in t."""
        return 2.0 * (self.log_alpha(t) - jnp.log(self.sigma(t)))

    def time_of_log_snr(self, log_snr: Elements) -> Elements:
        """The time t in (0, T] at which `log_snr(t)` equals the given value, by bisection to about one ulp of T.

        Values outside the range of the process map to the nearer end of [0, T]. Processes with a closed-form inverse override this.
        """
        log_snr = real_numbers(log_snr)
        # 12 more than the mantissa has bits, for times of about 2^-12 and below
        halvings = jnp.finfo(log_snr.dtype).nmant + 12

        def halve(_, bounds):
            low, high = bounds
            middle = 0.5 * (low + high)
            too_early = self.log_snr(middle) > log_snr
            return jnp.where(too_early, middle, low), jnp.where(too_early, high, middle)

        start = (jnp.zeros_like(log_snr), jnp.full_like(log_snr, self.T))
        low, high = jax.lax.fori_loop(0, halvings, halve, start)
        return 0.5 * (low + high)

    def marginal(self, x0: Images, t: PerImage) -> tuple[Images, PerImage]:
        """Mean alpha(t) x_0 (b, ...) and standard deviation sigma(t) (b,) of x_t | x_0, for one time t (b,) per image."""
        return expand(self.alpha(t), x0) * x0, self.sigma(t)

    def alpha_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        """alpha(t) / alpha(s): the mean coefficient of x_t given x_s, for s < t."""
        return jnp.exp(self.log_alpha(t) - self.log_alpha(s))

    def variance_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        """Variance of x_t given x_s, sigma_t^2 - (alpha_t/alpha_s)^2 sigma_s^2, for s < t.

        Computed from the log-SNR as -sigma_t^2 expm1(log_snr_t - log_snr_s). For t near s the log-SNRs nearly
        cancel: in float32 the relative error is 1e-4 for t - s = 1e-3 and 1e-3 for t - s = 1e-4. Subclasses with a
        closed form override it, as VP, sub-VP and VE do.
        """
        return -jnp.square(self.sigma(t)) * jnp.expm1(self.log_snr(t) - self.log_snr(s))

    # ---- the path of one image ---------------------------------------------------------------------

    def alpha_rate(self, t: Elements) -> Elements:
        """d alpha / dt, by a forward-mode derivative of `alpha`."""
        return time_derivative(self.alpha, t)

    def sigma_rate(self, t: Elements) -> Elements:
        """d sigma / dt, by a forward-mode derivative of `sigma`."""
        return time_derivative(self.sigma, t)

    def velocity(self, x0: Images, noise: Images, t: PerImage) -> Images:
        """Conditional velocity alpha' x_0 + sigma' eps, of the path x_t = alpha x_0 + sigma eps of an image and its noise.

        Its mean given x_t is the velocity of the probability flow (Lipman et al. 2023, Eq. 8). Written as f x - g^2/2 score that
        would be 0/0 where alpha = 0; this form remains finite.
        """
        return expand(self.alpha_rate(t), x0) * x0 + expand(self.sigma_rate(t), x0) * noise

    # ---- the differential equation ------------------------------------------------------------

    def drift_coefficient(self, t: Elements) -> Elements:
        """f(t) = d ln(alpha) / dt in dx = f(t) x dt + g(t) dw (Kingma et al. 2021, App. B), elementwise; infinite or NaN where alpha is 0."""
        return time_derivative(self.log_alpha, t)

    def diffusion_squared(self, t: Elements) -> Elements:
        """g(t)^2 = d(sigma^2)/dt - 2 f sigma^2, the rate at which the noise adds variance (Kingma et al. 2021, App. B)."""

        def variance(t):
            return jnp.square(self.sigma(t))

        return time_derivative(variance, t) - 2.0 * self.drift_coefficient(t) * variance(t)

    def drift(self, x: Images, t: PerImage) -> Images:
        """Drift f(t) x (b, ...) of the forward process at states x (b, ...) and times t (b,)."""
        return expand(self.drift_coefficient(t), x) * x

    def diffusion(self, t: Elements) -> Elements:
        """Diffusion coefficient g(t), which multiplies dw: a step dt adds noise of standard deviation g sqrt(dt)."""
        return jnp.sqrt(self.diffusion_squared(t))

    def euler_maruyama(
        self, x: Images, t: PerImage, dt: PerImage | Scalar
    ) -> tuple[Images, PerImage]:
        """Mean x + f x dt (b, ...) and standard deviation g sqrt(dt) (b,) of a forward Euler-Maruyama step dt > 0.

        First-order accurate in dt; `alpha_between` and `variance_between` give the exact transition.
        """
        return x + expand(dt, x) * self.drift(x, t), self.diffusion(t) * jnp.sqrt(dt)

    def chain(self, num_scales: int) -> Any:
        """The published finite Markov chain of the process (sde_lib/chains.py); NoDiscreteForm if it has none."""
        raise NoDiscreteForm(
            f"{type(self).__name__} has no published discrete chain of {num_scales} scales; "
            "discrete training exists for VP (DDPM) and VE (SMLD): set training.continuous=True"
        )

    # ---- the reverse family -------------------------------------------------------------------

    def reverse_drift(self, x: Images, t: PerImage, score: Images, h: float = 1.0) -> Images:
        """Drift of the family of processes with the same marginals as the forward process, in forward time:

            dx = [f x - (1 + h^2)/2 g^2 score] dt + h g dw_reverse.

        h = 1 is the reverse SDE (Anderson 1982; Song et al. 2021, Eq. 6), h = 0 the probability-flow ODE
        (Eq. 13); with the exact score every h >= 0 gives the same marginals.
        """
        check_shape("the score", score.shape, x.shape)
        half = 0.5 * (1.0 + h * h)
        return self.drift(x, t) - expand(half * self.diffusion_squared(t), x) * score

    def reverse_diffusion(self, t: Elements, h: float = 1.0) -> Elements:
        """h g(t), which multiplies dw_reverse in the family of `reverse_drift`; 0 for the ODE."""
        return h * self.diffusion(t)

    # ---- the prior ----------------------------------------------------------------------------

    def prior_sample(self, noise: Images) -> Images:
        """Turn standard normal noise (b, ...) into samples prior_std * noise of the prior N(0, prior_std^2 I)."""
        return self.prior_std * noise

    def prior_log_density(self, z: Images) -> PerImage:
        """Log-density ln N(z; 0, prior_std^2 I) (b,) of each of z (b, ...), in nats, summed over dimensions."""
        variance = jnp.square(jnp.asarray(self.prior_std, z.dtype))
        dimension = math.prod(z.shape[1:])
        norm_squared = jnp.sum(jnp.square(z).reshape(z.shape[0], dimension), axis=1)
        return -0.5 * dimension * jnp.log(2.0 * jnp.pi * variance) - 0.5 * norm_squared / variance
