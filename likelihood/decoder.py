"""Decoders: the last step from the density at eps to one at time 0.

A model's density is evaluated at eps > 0, usually at clean images, which lack the noise of x_eps. A bound on the density of clean
images needs a distribution of x_0 given x_eps. With the decoder N(D, (sigma/alpha)^2 I) around Tweedie's mean D the model is
p(x_0) = integral of p_eps(x) N(x_0; D(x), (sigma/alpha)^2 I), and with x_eps = alpha x_0 + sigma z, all at eps,

    -ln p(x_0) <= E_z[-ln p_eps(x_eps) - ln N(x_0; D, (sigma/alpha)^2 I) + ln N(x_eps; alpha x_0, sigma^2 I)]
                = E_z[-ln p_eps(x_eps) + 1/2 |eps_hat - z|^2 - 1/2 |z|^2] - D ln alpha,

because x_0 - D = (sigma/alpha)(eps_hat - z). p_eps is the density of any model: that of the ODE, evaluated at x_eps, or that of
the SDE, for which likelihood/bound.py bounds E_z[-ln p_eps(x_eps)]. For any score the mean over the data is at least their
entropy, whereas a density at eps that is evaluated at clean images can fall below it. The decoder approximates the posterior well
if sigma is far below the scale of the data: for Gaussian data of variance l per dimension and r = sigma^2/(alpha^2 l), the bound
with the exact score exceeds the entropy of the data, apart from the term of the prior, by

    1/2 (ln(1 + r) - r/(1 + r)) = r^2/4 + O(r^3) nats per dimension.

VP at eps = 1e-5 has sigma = .001. VE has sigma near sigma_min at every small eps, .01 as published: images on [0, 1] have detail of
that size, and there this excess is not small.

Chains of levels (likelihood/discrete_bound.py) end in a decoder too: `GAUSSIAN` is a density of dequantized images, and
`discretised` gives the probability of integer ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from score_sde.data.scaling import scale, slope, unscale
from score_sde.errors import ConfigError
from score_sde.likelihood.bound import (
    Bound,
    check_pairs,
    noise_error,
    sum_of_pairs,
    sum_squares,
    uniform_and_noise,
)
from score_sde.models.normal_interval import log_mass, log_mass_slope
from score_sde.models.score import ScoreModel, predicted_noise, score_at
from score_sde.samplers.predictors import batch_times
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Array, Images, Index, PerImage, Scalar


class Decoder(NamedTuple):
    """A distribution of x_0 given the mean and variance of a Gaussian."""

    nats: Callable[[Images, Images, Scalar], PerImage]
    """(x_0, mean, variance) -> -ln p(x_0)."""
    curvature: Callable[[Scalar], Scalar]
    """variance -> second derivative of -ln p at its minimum in one coordinate of the mean, times the variance: 1 for a density, 0 if
    the mean's position within the interval of an integer does not matter."""


def noised(sde: SDE, x0: Images, z: Images, eps: float) -> Images:
    """x_eps = alpha x_0 + sigma z, at which the model's density is evaluated."""
    mean, sigma = sde.marginal(x0, batch_times(x0, jnp.asarray(eps, x0.dtype)))
    return mean + expand(sigma, x0) * z


def _noise_at_eps(score: ScoreModel, sde: SDE, x0: Images, z: Images, eps: float) -> Images:
    t = batch_times(x0, jnp.asarray(eps, x0.dtype))
    return predicted_noise(sde, score_at(score, noised(sde, x0, z, eps), t), t)


def _log_alpha(sde: SDE, x0: Images, eps: float) -> Scalar:
    return x0[0].size * sde.log_alpha(jnp.asarray(eps, x0.dtype))


def decoding_term(score: ScoreModel, sde: SDE, x0: Images, z: Images, eps: float) -> PerImage:
    """1/2 |eps_hat - z|^2 - 1/2 |z|^2 - D ln alpha in nats (b,), to be added to -ln p_eps(noised(sde, x_0, z, eps)).

    Use the same z in both: the two vary with z in opposite directions, and only their sum has a low variance.

    Cost: one evaluation of the score.
    """
    eps_hat = _noise_at_eps(score, sde, x0, z, eps)
    return 0.5 * (sum_squares(eps_hat - z) - sum_squares(z)) - _log_alpha(sde, x0, eps)


def mean_decoding_term(
    score: ScoreModel, sde: SDE, x0: Images, keys: Array, eps: float, draws: int
) -> Bound:
    """The expectation of `decoding_term`, 1/2 E|eps_hat - z|^2 - D/2 - D ln alpha, to be added to a bound.

    Cost: `draws` evaluations per image, an even number. The noise of an image is drawn from its key in `keys` (b,).
    """
    check_pairs(x0, keys, draws)
    log_snr = sde.log_snr(jnp.asarray(eps, x0.dtype))
    constant = -0.5 * x0[0].size - _log_alpha(sde, x0, eps)

    def contribution(draw: Index) -> PerImage:
        _, z = uniform_and_noise(keys, draw, x0)
        eps_hat = _noise_at_eps(score, sde, x0, z, eps)
        return (0.5 * noise_error(eps_hat, z, log_snr) + constant) / (draws // 2)

    return sum_of_pairs(contribution, draws)


def gaussian_nats(x0: Images, mean: Images, variance: Scalar | float) -> PerImage:
    """-ln N(x_0; mean, variance I) in nats (b,), for x_0 and mean (b, ...): the decoder of dequantized or real-valued data."""
    normaliser = 0.5 * x0[0].size * jnp.log(2.0 * jnp.pi * variance)
    return normaliser + 0.5 * sum_squares(x0 - mean) / variance


GAUSSIAN = Decoder(gaussian_nats, jnp.ones_like)


def discretised(num_levels: int, centered: bool) -> Decoder:
    """The decoder of integer images: a Gaussian discretized to L levels (Ho et al. 2020, Eq. 13).

    Level v lies at y = v/(L-1), scaled to [-1, 1] if `centered`, and its probability is the mass of the interval that reaches
    halfway to its neighbors; the first and last intervals include the tails, so the probabilities of all levels sum to 1.

    Raises:
      ConfigError: fewer than two levels.
    """
    if num_levels < 2:
        raise ConfigError(
            f"num_levels={num_levels}: a discretised decoder needs 2 or more; set data.num_levels"
        )

    def half_width(variance: Scalar) -> Scalar:
        return 0.5 * slope(centered) / (num_levels - 1) / jnp.sqrt(variance)

    def nats(x0: Images, mean: Images, variance: Scalar) -> PerImage:
        std, half = jnp.sqrt(variance), half_width(variance)
        level = jnp.round(unscale(x0, centered) * (num_levels - 1))
        offset = (scale(level / (num_levels - 1), centered) - mean) / std
        inner = log_mass(offset, jnp.broadcast_to(half, offset.shape))
        lowest = jax.scipy.stats.norm.logcdf(offset + half)
        highest = jax.scipy.stats.norm.logcdf(half - offset)
        log_probability = jnp.where(
            level <= 0, lowest, jnp.where(level >= num_levels - 1, highest, inner)
        )
        return -jnp.sum(log_probability.reshape(x0.shape[0], -1), axis=1)

    def curvature(variance: Scalar) -> Scalar:
        half = half_width(variance)
        return -jax.jvp(lambda c: log_mass_slope(c, half), (0.0 * half,), (jnp.ones_like(half),))[1]

    return Decoder(nats, curvature)
