"""From the density at eps to one at time 0: what the last, smallest noise costs.

A likelihood is taken at eps > 0, of images that have none of the noise that x_eps should have. To be a bound for a density of
clean images it needs a law of x_0 given x_eps. With the decoder N(D, (sigma/alpha)^2 I) around Tweedie's mean D the model is
p(x_0) = integral of p_eps(x) N(x_0; D(x), (sigma/alpha)^2 I), and with x_eps = alpha x_0 + sigma z, all at eps,

    -ln p(x_0) <= E_z[-ln p_eps(x_eps) - ln N(x_0; D, (sigma/alpha)^2 I) + ln N(x_eps; alpha x_0, sigma^2 I)]
                = E_z[-ln p_eps(x_eps) + 1/2 |eps_hat - z|^2 - 1/2 |z|^2] - D ln alpha,

because x_0 - D = (sigma/alpha)(eps_hat - z). p_eps is any model's density: the ODE's, measured at x_eps, or the SDE's, of which
likelihood/bound.py bounds E_z[-ln p_eps(x_eps)]. The mean over data is at least their entropy, for any score: no number below it
can come out, as it can of a density at eps that is read at clean images. The decoder is the posterior where sigma is far below
the data's own scale: for Gaussian data of variance l a dimension and r = sigma^2/(alpha^2 l), the bound with the exact score
exceeds the entropy of the data, beside what the prior costs, by

    1/2 (ln(1 + r) - r/(1 + r)) = r^2/4 + O(r^3) nats a dimension.

VP at 1e-5 has sigma = .001. VE has sigma = sigma_min at every small eps, .01 as published: images on [0, 1] have detail of that
size, and there the decoder's cost is not small.

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
from score_sde.models.score import ScoreModel, predicted_noise
from score_sde.samplers.predictors import batch_times
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Array, Images, Index, PerImage, Scalar


class Decoder(NamedTuple):
    """A law of x_0 with a Gaussian's mean and variance."""

    nats: Callable[[Images, Images, Scalar], PerImage]
    """(x_0, mean, variance) -> -ln p(x_0)."""
    curvature: Callable[[Scalar], Scalar]
    """variance -> that of -ln p at its least in a direction of x_0, times the variance: 1 for a density, 0 if nothing
    depends on where in its interval an integer's mean lies."""


def noised(sde: SDE, x0: Images, z: Images, eps: float) -> Images:
    """x_eps = alpha x_0 + sigma z, where the model's density is taken."""
    mean, sigma = sde.marginal(x0, batch_times(x0, jnp.asarray(eps, x0.dtype)))
    return mean + expand(sigma, x0) * z


def _noise_at_eps(score: ScoreModel, sde: SDE, x0: Images, z: Images, eps: float) -> Images:
    t = batch_times(x0, jnp.asarray(eps, x0.dtype))
    return predicted_noise(sde, score(noised(sde, x0, z, eps), t), t)


def _log_alpha(sde: SDE, x0: Images, eps: float) -> Scalar:
    return x0[0].size * sde.log_alpha(jnp.asarray(eps, x0.dtype))


def decoding_term(score: ScoreModel, sde: SDE, x0: Images, z: Images, eps: float) -> PerImage:
    """1/2 |eps_hat - z|^2 - 1/2 |z|^2 - D ln alpha in nats: add it to -ln p_eps(noised(sde, x_0, z, eps)).

    With the same z in both: -ln p_eps moves with z as this term does, the other way, and only the sum is steady.

    Cost: one evaluation of the score.
    """
    eps_hat = _noise_at_eps(score, sde, x0, z, eps)
    return 0.5 * (sum_squares(eps_hat - z) - sum_squares(z)) - _log_alpha(sde, x0, eps)


def mean_decoding_term(
    score: ScoreModel, sde: SDE, x0: Images, keys: Array, eps: float, draws: int
) -> Bound:
    """The expectation of `decoding_term`, which is 1/2 E|eps_hat - z|^2 - D/2 - D ln alpha, to add to a bound.

    `draws`, an even number, of evaluations for each image x_0, with noise from its key in keys (b,).
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
    """-ln N(x_0; mean, variance I) in nats (b,), of x_0 and mean (b, ...): the decoder for dequantized or real data."""
    normaliser = 0.5 * x0[0].size * jnp.log(2.0 * jnp.pi * variance)
    return normaliser + 0.5 * sum_squares(x0 - mean) / variance


GAUSSIAN = Decoder(gaussian_nats, jnp.ones_like)


def discretised(num_levels: int, centered: bool) -> Decoder:
    """The probability of integer images under a Gaussian that is split among levels (Ho et al. 2020, Eq. 13).

    Level v stands at y = v/(L-1), scaled to [-1, 1] if `centered`, and owns the interval up to halfway to its neighbours; the
    first and the last own the tails, so that the probabilities of all levels sum to 1.

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
