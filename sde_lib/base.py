"""A forward process and everything that follows from it.

A forward process turns an image x0 at time 0 into noise at time T. Its law given x0 is

    x_t | x_0 ~ N(alpha(t) x_0, sigma(t)^2 I),

so two functions of time say all of it; the stochastic differential equation

    dx = f(t) x dt + g(t) dw,    f = d ln(alpha)/dt,    g^2 = d(sigma^2)/dt - 2 f sigma^2

(Song et al. 2021, Eq. 5 and App. B; Kingma et al. 2021, App. B) and its time reversals are derived from
them here. A subclass states `alpha` and `sigma`; it overrides a derived form only where a closed form is
exact or keeps digits that the derived one loses.

Time runs one way in the whole project: data at 0, noise at T; nothing turns it round. Every function of
time is elementwise in t and keeps its dtype.
"""

from __future__ import annotations

import abc
import functools
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from score_sde.errors import ConfigError
from score_sde.options import Section
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
    """An option asked for a published finite chain (DDPM, SMLD) of a process that has none."""


def expand(a: PerImage | Scalar | float, x: Images) -> Float[Array, "..."]:
    """Numbers (b,) as (b, 1, ..., 1), with as many axes as the images x (b, ...), so that they multiply image by image.

    A scalar stays one.
    """
    a = jnp.asarray(a)
    return a if a.ndim == 0 else a.reshape(a.shape + (1,) * (x.ndim - a.ndim))


def time_derivative(fn, t: Elements) -> Elements:
    """d fn / dt for an elementwise fn, in one forward-mode pass."""
    t = jnp.asarray(t)
    return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]


@functools.lru_cache(maxsize=64)
def check_process(sde: SDE, t: float, dtype: Any) -> None:
    """Refuse a process whose log-SNR, at evenly spaced times from t to `signal_end`, is not finite or does not fall.

    Both that of alpha and sigma and the process's own `log_snr`, which may be another formula. Every sampler and likelihood takes
    it for granted, and gives numbers without it. `dtype` is that in which they compute.
    """
    times = np.linspace(t, sde.signal_end, CHECKED_TIMES, dtype=dtype)

    def at_times(of):
        return np.broadcast_to(np.asarray(of(jnp.asarray(times)), float), times.shape)

    with jax.ensure_compile_time_eval(), np.errstate(all="ignore"):
        stated = 2.0 * (np.log(at_times(sde.alpha)) - np.log(at_times(sde.sigma)))
        refuse_rise(sde, times, stated)
        refuse_rise(sde, times, at_times(sde.log_snr))


def refuse_rise(sde: SDE, times: np.ndarray, log_snr: np.ndarray) -> None:
    """Refuse values (n,) at times (n,) that are not all finite or do not fall."""
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

    Subclasses are frozen dataclasses, hence hashable: they enter jitted functions as static values.
    """

    T: ClassVar[float] = 1.0
    """The end of time, where only noise is left."""

    predicts: ClassVar[str] = "noise"
    """What a network trained under this process gives by default: see models/parameterization.py."""

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Build from `config.model`, where the options among the fields of a process are."""
        return cls(**{name: getattr(config.model, name) for name in cls.options()})

    @property
    def signal_end(self) -> float:
        """The latest time at which the log-SNR is finite; before T of a process with alpha(T) = 0.

        There the score of every law is -x / sigma^2 and says nothing of the image. What divides by alpha or works in the log-SNR
        begins at this time, from the same prior; the probability flow of a model that gives its velocity begins at T.
        """
        return self.T

    def check_time(self, field: str, t: float) -> None:
        """Refuse a smallest time outside (0, T), and a process that is none from there on (`check_process`)."""
        if not 0 < t < self.signal_end:
            raise ConfigError(
                f"{field}={t}: expected a time between 0 and T={self.signal_end}, such as 1e-5"
            )
        check_process(self, t, jnp.result_type(float))

    # ---- what a subclass states ---------------------------------------------------------------

    @abc.abstractmethod
    def alpha(self, t: Elements) -> Elements:
        """Mean coefficient of x_t | x_0 ~ N(alpha x_0, sigma^2 I), without a unit; t in [0, T], of any shape."""

    @abc.abstractmethod
    def sigma(self, t: Elements) -> Elements:
        """Standard deviation of x_t | x_0, in the units of the images; t in [0, T], of any shape."""

    @property
    def prior_std(self) -> float | Scalar:
        """Standard deviation of the prior N(0, prior_std^2 I) that stands in for the law of x_T."""
        return self.sigma(jnp.asarray(self.T))

    # ---- the kernel ---------------------------------------------------------------------------

    def log_alpha(self, t: Elements) -> Elements:
        """ln alpha(t), -inf where alpha is 0."""
        return jnp.log(self.alpha(t))

    def log_snr(self, t: Elements) -> Elements:
        """ln(alpha^2 / sigma^2), of the natural logarithm (Kingma et al. 2021, Sec. 3.1); it falls as t grows."""
        return 2.0 * (self.log_alpha(t) - jnp.log(self.sigma(t)))

    def time_of_log_snr(self, log_snr: Elements) -> Elements:
        """The time t in (0, T] at which `log_snr(t)` is the value given, by bisection to about one ulp of T.

        Values that the process does not reach give the nearer end. The processes here with a closed form override it.
        """
        log_snr = jnp.asarray(log_snr)
        halvings = jnp.finfo(log_snr.dtype).nmant + 12  # 12 more for times near 2^-12 and below

        def halve(_, bounds):
            low, high = bounds
            middle = 0.5 * (low + high)
            too_early = self.log_snr(middle) > log_snr
            return jnp.where(too_early, middle, low), jnp.where(too_early, high, middle)

        start = (jnp.zeros_like(log_snr), jnp.full_like(log_snr, self.T))
        low, high = jax.lax.fori_loop(0, halvings, halve, start)
        return 0.5 * (low + high)

    def marginal(self, x0: Images, t: PerImage) -> tuple[Images, PerImage]:
        """Mean alpha(t) x_0 (b, ...) and standard deviation sigma(t) (b,) of x_t | x_0, at a time t (b,) of each image."""
        return expand(self.alpha(t), x0) * x0, self.sigma(t)

    def alpha_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        """alpha(t) / alpha(s): the mean coefficient of x_t given x_s, for s < t."""
        return jnp.exp(self.log_alpha(t) - self.log_alpha(s))

    def variance_between(self, s: Broadcast, t: Broadcast) -> Broadcast:
        """Variance of x_t given x_s, sigma_t^2 - (alpha_t/alpha_s)^2 sigma_s^2, for s < t.

        Written through the log-SNR as -sigma_t^2 expm1(log_snr_t - log_snr_s). Near s this is a
        difference of near equals, good in float32 to 1e-4 of itself for t - s = 1e-3 and to 1e-3 for
        1e-4; a subclass with a closed form overrides it, as the published three do.
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
        """alpha' x_0 + sigma' eps, that of the path x_t = alpha x_0 + sigma eps of an image and its noise.

        Its mean given x_t is that of the probability flow (Lipman et al. 2023, Eq. 8): f x - g^2/2 score, which is 0/0 where
        alpha = 0, and this is not.
        """
        return expand(self.alpha_rate(t), x0) * x0 + expand(self.sigma_rate(t), x0) * noise

    # ---- the differential equation ------------------------------------------------------------

    def drift_coefficient(self, t: Elements) -> Elements:
        """f(t) = d ln(alpha) / dt of dx = f(t) x dt + g(t) dw (Kingma et al. 2021, App. B), elementwise; not finite where alpha is 0."""
        return time_derivative(self.log_alpha, t)

    def diffusion_squared(self, t: Elements) -> Elements:
        """g(t)^2 = d(sigma^2)/dt - 2 f sigma^2, the rate at which noise of the process adds variance (Kingma et al. 2021, App. B)."""

        def variance(t):
            return jnp.square(self.sigma(t))

        return time_derivative(variance, t) - 2.0 * self.drift_coefficient(t) * variance(t)

    def drift(self, x: Images, t: PerImage) -> Images:
        """f(t) x (b, ...) of the forward process at states x and times t (b,)."""
        return expand(self.drift_coefficient(t), x) * x

    def diffusion(self, t: Elements) -> Elements:
        """g(t), what multiplies dw: noise of standard deviation g sqrt(dt) in a time dt."""
        return jnp.sqrt(self.diffusion_squared(t))

    def euler_maruyama(
        self, x: Images, t: PerImage, dt: PerImage | Scalar
    ) -> tuple[Images, PerImage]:
        """x + f x dt (b, ...) and g sqrt(dt) (b,): mean and standard deviation of a forward step of length dt > 0.

        Of first order in dt; `alpha_between` and `variance_between` have the exact transition.
        """
        return x + expand(dt, x) * self.drift(x, t), self.diffusion(t) * jnp.sqrt(dt)

    def chain(self, num_scales: int) -> Any:
        """The published finite Markov chain of the process (sde_lib/chains.py), where it has one."""
        raise NoDiscreteForm(
            f"{type(self).__name__} has no published discrete chain of {num_scales} scales; "
            "discrete training exists for VP (DDPM) and VE (SMLD): set training.continuous=True"
        )

    # ---- the reverse family -------------------------------------------------------------------

    def reverse_drift(self, x: Images, t: PerImage, score: Images, h: float = 1.0) -> Images:
        """Drift of the processes that share the marginals of the forward one, in forward time:

            dx = [f x - (1 + h^2)/2 g^2 score] dt + h g dw_reverse.

        h = 1 is the reverse SDE (Anderson 1982; Song et al. 2021, Eq. 6), h = 0 the probability-flow ODE
        (Eq. 13), and every h in between or beyond has the same marginals for the exact score.
        """
        check_shape("the score", score.shape, x.shape)
        half = 0.5 * (1.0 + h * h)
        return self.drift(x, t) - expand(half * self.diffusion_squared(t), x) * score

    def reverse_diffusion(self, t: Elements, h: float = 1.0) -> Elements:
        """h g(t), what multiplies dw_reverse in the family of `reverse_drift`: 0 for the ODE."""
        return h * self.diffusion(t)

    # ---- the prior ----------------------------------------------------------------------------

    def prior_sample(self, noise: Images) -> Images:
        """prior_std * noise: standard normal noise (b, ...) as draws of the prior N(0, prior_std^2 I)."""
        return self.prior_std * noise

    def prior_log_density(self, z: Images) -> PerImage:
        """ln N(z; 0, prior_std^2 I) of each of z (b, ...), in nats of all its numbers together: (b,)."""
        variance = jnp.square(jnp.asarray(self.prior_std, z.dtype))
        dimension = z[0].size
        norm_squared = jnp.sum(jnp.square(z).reshape(z.shape[0], -1), axis=1)
        return -0.5 * dimension * jnp.log(2.0 * jnp.pi * variance) - 0.5 * norm_squared / variance
