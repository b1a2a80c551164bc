"""Ancestral sampling with the optimal variance for a score model (Bao et al. 2022, Analytic-DPM).

Given x_0 as well, the step from t to s < t is Gaussian; with a = alpha_t / alpha_s and tau^2 the variance of x_t given x_s,

    x_s | x_t, x_0 ~ N((a sigma_s^2 x_t + alpha_s tau^2 x_0) / sigma_t^2, beta~),    beta~ = tau^2 sigma_s^2 / sigma_t^2.

A model, which knows only x_t, replaces eps = (x_t - alpha_t x_0) / sigma_t by its prediction eps_hat, and thus misses the
mean by (tau^2 / (a sigma_t)) (eps_hat - eps). The variance of the best isotropic Gaussian step is beta~ plus the mean square
of this error:

    sigma*^2 = beta~ + tau^4 / (a^2 sigma_t^2) m(t),    m = E|eps - eps_hat|^2 / d.

For the exact score m = 1 - sigma^2 Gamma with Gamma = E|score|^2 / d, and then sigma*^2 = (tau^2 / a^2)(1 - tau^2 Gamma):
Eq. 8 of the paper for every process, with its lambda^2 = beta~. By its Theorem 2, 0 <= m <= 1, and m <= h^2 alpha^2 /
sigma^2 for data within h of a center. For an inexact model, the measured m is the better choice (Bao et al. 2022b,
"Estimating the Optimal Covariance with Imperfect Mean"); near T, where m is a small difference, it is also by far the better
estimate.
"""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from score_sde.errors import ConfigError
from score_sde.models.score import ScoreModel
from score_sde.samplers.predictors import ancestral_mean
from score_sde.sde_lib import SDE
from score_sde.shapes import Broadcast, Elements, Images, Scalar


def posterior_variance(sde: SDE, t: Broadcast, s: Broadcast) -> Broadcast:
    """beta~, the variance of x_s given x_t and x_0."""
    return sde.variance_between(s, t) * jnp.square(sde.sigma(s) / sde.sigma(t))


def missed_variance(sde: SDE, t: Broadcast, s: Broadcast, error: Broadcast) -> Broadcast:
    """tau^4 / (a^2 sigma_t^2) m: the mean squared error, per dimension, of the mean of x_s."""
    a, variance = sde.alpha_between(s, t), sde.variance_between(s, t)
    return jnp.square(variance / (a * sde.sigma(t))) * error


def error_of_norm(sde: SDE, t: Elements, norm: Elements) -> Elements:
    """m = 1 - sigma^2 Gamma, the denoising error of an exact score whose E|score|^2 / d is `norm`."""
    return 1.0 - jnp.square(sde.sigma(t)) * norm


@dataclasses.dataclass(frozen=True)
class OptimalVariance:
    """A predictor with the ancestral mean and the variance sigma*^2 from a table of m. One evaluation per step.

    Between the times of the table m is linear in the log-SNR, so that one table serves every grid; a grid that consists of
    times of the table uses its values unchanged. evaluation/score_norms.py computes the table.

    Args:
      times: increasing, in (0, T], covering those of the grid: m is constant beyond the ends.
      errors: m at each time, measured or from `error_of_norm`; estimates outside the bounds of Theorem 2 are clipped to them.
      half_range: half the range of the data, 1 for [-1, 1] and 0.5 for [0, 1]; infinite for unbounded data.
    """

    times: tuple[float, ...]
    errors: tuple[float, ...]
    half_range: float = math.inf

    def __post_init__(self):
        if not self.times or len(self.times) != len(self.errors):
            raise ValueError(
                f"{len(self.times)} times with {len(self.errors)} denoising errors: expected one for each, and at least one"
            )
        if not (self.times[0] > 0 and np.all(np.diff(self.times) > 0)):
            raise ValueError("the times of the denoising errors must be positive and increasing")
        if not np.all(np.isfinite(self.errors)):
            raise ConfigError("the denoising errors must be finite; estimate them again")
        if not self.half_range > 0:
            raise ConfigError(f"half_range={self.half_range}: expected a positive number, or inf")

    def error(self, sde: SDE, t: Elements) -> Elements:
        """m(t), clipped to the bounds."""
        t = jnp.asarray(t)
        times, errors = jnp.asarray(self.times, t.dtype), jnp.asarray(self.errors, t.dtype)
        log_snr = sde.log_snr(t)
        error = jnp.interp(-log_snr, -sde.log_snr(times), errors)  # interp needs rising abscissae
        return jnp.clip(error, 0.0, jnp.minimum(1.0, self.half_range**2 * jnp.exp(log_snr)))

    def variance(self, sde: SDE, t: Broadcast, s: Broadcast) -> Broadcast:
        """sigma*^2 of the step from t to s."""
        return posterior_variance(sde, t, s) + missed_variance(sde, t, s, self.error(sde, t))

    def __call__(
        self, score: ScoreModel, sde: SDE, x: Images, t: Scalar, s: Scalar, z: Images
    ) -> Images:
        return ancestral_mean(score, sde, x, t, s) + jnp.sqrt(self.variance(sde, t, s)) * z
