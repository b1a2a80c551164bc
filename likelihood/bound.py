"""A variational bound on the likelihood of the reverse SDE, image by image.

The reverse SDE starts from the prior at T and runs down to eps. Its density has no closed form, but the relative entropy of
its paths to those of the forward process from x_0 bounds it (Song et al. 2021, "Maximum likelihood training of score-based
diffusion models", Theorem 3; Huang et al. 2021):

    E[-ln p_eps(x_eps) | x_0] <= CE(N(alpha_T x_0, sigma_T^2 I), prior) - D ln(alpha_T / alpha_eps)
                                 + 1/2 integral from eps to T of g^2 E[|score - S|^2 - |S|^2] dt,    S = -eps/sigma.

Here g^2/sigma^2 dt = -d log_snr and score - S = (eps - eps_hat)/sigma. With Lambda the length of the interval of log-SNR, and
the log-SNR drawn uniformly from it (Kingma et al. 2021), what remains to be estimated is one mean square:

    CE(...) - D ln(sigma_T / sigma_eps)  +  Lambda/2 E|eps_hat - eps|^2.

The first part is exact. It is a bound for the SDE and not for the probability-flow ODE, whose density likelihood/log_density.py
measures. With the exact score both laws are the data's but for the prior, and the bound's mean over data is the entropy of
p_eps + KL(p_T || prior). With a score that is wrong they part: for N(0, .25) under VP and a score 10 % too large, the
relative entropies of data to the SDE's law, to the bound and to the ODE's law are .0088 < .0572 < .4972 nats.

Estimates are stratified: half as many equal intervals of log-SNR as draws, and two independent draws in each. If a and b are
the two contributions of an interval, (a + b)/2 enters the sum and (a - b)^2/4 estimates the variance of that without bias.
Most of the variance is in few intervals, so the error bars are those of few degrees of freedom: for 16 pixels of tests/likelihood/
test_bound.py 1.96 of them cover in 90 % of cases with 32 draws, 93 % with 64 and 94 % with 256.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.models.score import ScoreModel, predicted_noise
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Array, Images, Index, Integers, Keys, OneKey, PerImage, Scalar

RESOLVED = 1.0 / 16.0
"""The variance of data for which `noise_error` has the least spread.

With 64 draws on Gaussian images of 32x32x3 and a spectrum of 1/f^2 to 1/f^3, under VP, one image's standard error is .036
bits/dim, against .045 without the correction and .053 with all of |z|^2 taken out (RESOLVED infinite); it is flat between 1/4
and 1/256. In 16 dimensions, on the mixture of tests/likelihood/test_bound.py, these are .19, .38 and .50. Strata are what
matters most: independent draws would give .9 and .74.
"""


class Bound(NamedTuple):
    """Of a batch: an upper bound on -ln p in nats, its standard error, evaluations of the score."""

    nats: PerImage
    standard_error: PerImage
    nfe: Integers


def exact_part(sde: SDE, x0: Images, eps: float) -> PerImage:
    """CE(N(alpha_T x_0, sigma_T^2 I), prior) - D ln(sigma_T / sigma_eps) in nats (b,), of x_0 (b, ...) of D numbers each.

    What of the bound needs no network; T is `signal_end`.
    """
    sigma_eps, sigma_end = sde.sigma(jnp.asarray([eps, sde.signal_end], x0.dtype))
    mean = sde.alpha(jnp.asarray(sde.signal_end, x0.dtype)) * x0
    spread = jnp.square(sigma_end / sde.prior_std)
    of_one = 0.5 * spread - jnp.log(sigma_end / sigma_eps)
    return x0[0].size * of_one - sde.prior_log_density(mean)


def resolved_noise(z: Images, log_snr: PerImage | Scalar) -> PerImage:
    """w (|z|^2 - D), of mean 0: what |eps_hat - z|^2 contains of |z|^2 for data of variance RESOLVED.

    Where the noise is small eps_hat is too, and the square is |z|^2 nearly; where it is large eps_hat = z. For the exact
    score of data of variance l, z enters the square with w = (snr l / (1 + snr l))^2.
    """
    w = jnp.square(jax.nn.sigmoid(log_snr + jnp.log(RESOLVED)))
    return w * (sum_squares(z) - z[0].size)


def noise_error(eps_hat: Images, z: Images, log_snr: PerImage | Scalar) -> PerImage:
    """|eps_hat - z|^2 - resolved_noise (b,), of images (b, ...): it has the mean of |eps_hat - z|^2 and less spread."""
    return sum_squares(eps_hat - z) - resolved_noise(z, log_snr)


def sum_squares(a: Images) -> PerImage:
    """The squared norm of each image."""
    return jnp.sum(jnp.square(a).reshape(a.shape[0], -1), axis=1)


def bound_sample(
    score: ScoreModel, sde: SDE, x0: Images, u: PerImage, z: Images, eps: float
) -> PerImage:
    """One unbiased estimate of the bound for each image, differentiable in x_0 and in the score's leaves.

    Args:
      u: where in the interval of log-SNR from eps to T, in [0, 1); uniform for an unbiased estimate.
      z: standard normal noise.
      eps: the time at which the density is taken.

    Returns nats. Cost: one evaluation of the score.
    """
    start, end = sde.log_snr(jnp.asarray([eps, sde.signal_end], x0.dtype))
    log_snr = start + u * (end - start)
    t = sde.time_of_log_snr(log_snr)
    mean, sigma = sde.marginal(x0, t)
    eps_hat = predicted_noise(sde, score(mean + expand(sigma, x0) * z, t), t)
    return exact_part(sde, x0, eps) + 0.5 * (start - end) * noise_error(eps_hat, z, log_snr)


def continuous_bound(
    score: ScoreModel, sde: SDE, x0: Images, keys: Array, eps: float, draws: int
) -> Bound:
    """The bound for images x_0 by `draws` evaluations of the score for each.

    An image's value depends on its own key only. Memory is that of one evaluation on the batch.

    Args:
      x0: images, in the units of the process.
      keys: of the images' noise, (b,).
      eps: the time at which the density is taken.
      draws: an even number; the error bar wants 16 or more.

    Raises:
      ConfigError: draws that are not even and positive, or an eps outside (0, T).
      ValueError: keys that are not one an image.
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
    """Of the images with these keys: uniform numbers and standard normal noise for a draw."""

    def of_one(key: OneKey) -> tuple[Array, Array]:
        for_level, for_noise = jax.random.split(jax.random.fold_in(key, draw))
        u = jax.random.uniform(for_level, (), x0.dtype)
        return u, jax.random.normal(for_noise, x0.shape[1:], x0.dtype)

    return jax.vmap(of_one)(keys)


def sum_of_pairs(contribution: Callable[[Index], PerImage], draws: int) -> Bound:
    """The sum over strata of the mean of two independent contributions, those of draws 2 h and 2 h + 1."""
    pairs = jax.lax.map(contribution, jnp.arange(draws)).reshape(draws // 2, 2, -1)
    differences = pairs[:, 0] - pairs[:, 1]
    nats = jnp.sum(jnp.mean(pairs, axis=1), axis=0)
    standard_error = 0.5 * jnp.sqrt(jnp.sum(jnp.square(differences), axis=0))
    return Bound(nats, standard_error, jnp.full(nats.shape, draws))


def check_pairs(x0: Images, keys: Array, draws: int) -> None:
    """Refuse draws that do not pair, and keys that are not one for each image."""
    if draws < 2 or draws % 2:
        raise ConfigError(
            f"draws={draws}: expected an even number of at least 2, two for each interval of noise levels; set likelihood.bound_draws"
        )
    if keys.shape != x0.shape[:1]:
        raise ValueError(
            f"keys of shape {keys.shape} for images of shape {x0.shape}: expected {x0.shape[:1]}, one an image"
        )
