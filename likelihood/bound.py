"""A variational bound on the likelihood of each image under the reverse SDE.

The reverse SDE runs from the prior at T down to eps. Its density has no closed form, but it is bounded by the relative entropy
between its paths and those of the forward process from x_0 (Song et al. 2021, "Maximum likelihood training of score-based
diffusion models", Theorem 3; Huang et al. 2021):

    E[-ln p_eps(x_eps) | x_0] <= CE(N(alpha_T x_0, sigma_T^2 I), prior) - D ln(alpha_T / alpha_eps)
                                 + 1/2 integral from eps to T of g^2 E[|score - S|^2 - |S|^2] dt,    S = -eps/sigma.

Here g^2/sigma^2 dt = -d log_snr and score - S = (eps - eps_hat)/sigma. With Lambda the length of the interval of log-SNR and
log-SNR drawn uniformly from it (Kingma et al. 2021), only a mean squared error remains to be estimated:

    CE(...) - D ln(sigma_T / sigma_eps)  +  Lambda/2 E|eps_hat - eps|^2.

The first two terms are exact. The bound holds for the SDE, not for the probability-flow ODE, whose density is computed by
likelihood/log_density.py. With the exact score both distributions are that of the data, apart from the prior, and the mean of
the bound over the data is the entropy of p_eps plus KL(p_T || prior). With a wrong score they differ: for N(0, .25) under VP and
a score 10 % too large, the excess over the entropy of the data is .0088 nats for the SDE, .0572 for the bound and .4972 for the ODE.

Estimates are stratified: the range of log-SNR is divided into draws/2 equal intervals, with two independent draws in each. If a
and b are the two contributions of an interval, (a + b)/2 enters the sum and (a - b)^2/4 is an unbiased estimate of its variance.
Most of the variance lies in a few intervals, so the error bars have few degrees of freedom: for the 16 pixels of tests/likelihood/
test_bound.py, +-1.96 standard errors cover 90 % with 32 draws, 93 % with 64 and 94 % with 256.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.models.score import ScoreModel, check_images, predicted_noise, score_at
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Array, Images, Index, Integers, Keys, OneKey, PerImage, Scalar

RESOLVED = 1.0 / 16.0
"""The data variance for which `noise_error` has the least variance.

With 64 draws on Gaussian 32x32x3 images with a spectrum of 1/f^2 to 1/f^3, under VP, the standard error of one image is .036
bits/dim, against .045 without the correction and .053 with all of |z|^2 subtracted (RESOLVED infinite); it is flat between 1/4
and 1/256. In 16 dimensions, on the mixture of tests/likelihood/test_bound.py, these are .19, .38 and .50. Stratification
matters most: independent draws would give .9 and .74.
"""


class Bound(NamedTuple):
    """An upper bound on -ln p in nats for a batch, its standard error and evaluations of the score, (b,) each."""

    nats: PerImage
    standard_error: PerImage
    nfe: Integers


def exact_part(sde: SDE, x0: Images, eps: float) -> PerImage:
    """CE(N(alpha_T x_0, sigma_T^2 I), prior) - D ln(sigma_T / sigma_eps) in nats (b,), for x_0 (b, ...) of D numbers each.

    The part of the bound that needs no network; T is `signal_end`.
    """
    sigma_eps, sigma_end = sde.sigma(jnp.asarray([eps, sde.signal_end], x0.dtype))
    mean = sde.alpha(jnp.asarray(sde.signal_end, x0.dtype)) * x0
    spread = jnp.square(sigma_end / sde.prior_std)
    of_one = 0.5 * spread - jnp.log(sigma_end / sigma_eps)
    return x0[0].size * of_one - sde.prior_log_density(mean)


def resolved_noise(z: Images, log_snr: PerImage | Scalar) -> PerImage:
    """The control variate w (|z|^2 - D), of mean 0: the part of |eps_hat - z|^2 due to |z|^2 for data of variance RESOLVED.

    At low noise eps_hat is small and the squared error is nearly |z|^2; at high noise eps_hat is nearly z. For the exact score of
    data of variance l, |z|^2 enters the squared error with weight w = (snr l / (1 + snr l))^2.
    """
    w = jnp.square(jax.nn.sigmoid(log_snr + jnp.log(RESOLVED)))
    return w * (sum_squares(z) - z[0].size)


def noise_error(eps_hat: Images, z: Images, log_snr: PerImage | Scalar) -> PerImage:
    """|eps_hat - z|^2 - resolved_noise (b,), for images (b, ...): same mean as |eps_hat - z|^2, lower variance."""
    return sum_squares(eps_hat - z) - resolved_noise(z, log_snr)


def sum_squares(a: Images) -> PerImage:
    """The squared norm of each image."""
    return jnp.sum(jnp.square(a).reshape(a.shape[0], -1), axis=1)


def bound_sample(
    score: ScoreModel, sde: SDE, x0: Images, u: PerImage, z: Images, eps: float
) -> PerImage:
    """One unbiased estimate of the bound for each image, differentiable in x_0 and in the score's leaves.

    Args:
      u: position in the interval of log-SNR from eps to T, in [0, 1); uniform for an unbiased estimate.
      z: standard normal noise.
      eps: the time at which the density is evaluated.

    Returns nats (b,). Cost: one evaluation of the score.
    """
    start, end = sde.log_snr(jnp.asarray([eps, sde.signal_end], x0.dtype))
    log_snr = start + u * (end - start)
    t = sde.time_of_log_snr(log_snr)
    mean, sigma = sde.marginal(x0, t)
    eps_hat = predicted_noise(sde, score_at(score, mean + expand(sigma, x0) * z, t), t)
    return exact_part(sde, x0, eps) + 0.5 * (start - end) * noise_error(eps_hat, z, log_snr)


def continuous_bound(
    score: ScoreModel, sde: SDE, x0: Images, keys: Array, eps: float, draws: int
) -> Bound:
    """Estimate the bound for images x_0 with `draws` evaluations of the score for each.

    The value of an image depends only on its own key. The draws are made one after another, in the memory of one evaluation.

    Args:
      x0: images, in the units of the process.
      keys: one random key per image, (b,).
      eps: the time at which the density is evaluated.
      draws: an even number; at least 16 for a usable error bar.

    Raises:
      ConfigError: draws that are not even and positive, or an eps outside (0, T).
      ValueError: keys that are not one per image.
    """
    check_pairs(x0, keys, draws)
    sde.check_time("likelihood.eps", eps)
    strata = draws // 2

    def contribution(draw: Index) -> PerImage:
        jitter, z = uniform_and_noise(keys, draw, x0)
        u = (draw // 2 + jitter) / strata
        return bound_sample(score, sde, x0, u, z, eps) / strata

    return sum_of_pairs(contribution, draws)


def uniform_and_noise(keys: Keys, draw: Index, x0: Images) -> tuple[PerImage, Images]:
    """Uniform numbers (b,) and standard normal noise (b, ...) for the given draw, from each image's key."""

    def of_one(key: OneKey) -> tuple[Array, Array]:
        for_level, for_noise = jax.random.split(jax.random.fold_in(key, draw))
        u = jax.random.uniform(for_level, (), x0.dtype)
        return u, jax.random.normal(for_noise, x0.shape[1:], x0.dtype)

    return jax.vmap(of_one)(keys)


def sum_of_pairs(contribution: Callable[[Index], PerImage], draws: int) -> Bound:
    """The sum over strata h of the mean of their two independent contributions, those of draws 2 h and 2 h + 1."""
    pairs = jax.lax.map(contribution, jnp.arange(draws)).reshape(draws // 2, 2, -1)
    differences = pairs[:, 0] - pairs[:, 1]
    nats = jnp.sum(jnp.mean(pairs, axis=1), axis=0)
    standard_error = 0.5 * jnp.sqrt(jnp.sum(jnp.square(differences), axis=0))
    return Bound(nats, standard_error, jnp.full(nats.shape, draws))


def check_pairs(x0: Images, keys: Array, draws: int) -> None:
    """Refuse a number of draws that is odd or below 2, integer images or none, and keys that are not one per image."""
    if draws < 2 or draws % 2:
        raise ConfigError(
            f"draws={draws}: expected an even number of at least 2, two for each interval of noise levels; set likelihood.bound_draws"
        )
    check_images("a bound of images", x0)
    check_keys(keys.shape, x0)


def check_keys(shape: tuple[int, ...], x: Images) -> None:
    """Refuse keys of this shape unless there is one for each image."""
    if shape != x.shape[:1]:
        raise ValueError(
            f"keys of shape {shape} for images of shape {x.shape}: expected {x.shape[:1]}, one an image"
        )
