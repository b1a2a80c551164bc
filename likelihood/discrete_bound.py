"""The variational bound on the likelihood of a finite chain (Ho et al. 2020, Eq. 5; Nichol & Dhariwal 2021).

A chain starts from the prior and descends its levels N-1 ... 0 by steps of ancestral sampling,

    p(x_{i-1} | x_i) = N((x_i + G_i^2 score_i) / a_i, v_i I),

and a decoder with the same mean and variance at i = 0 gives the clean x_0. Relative to the forward chain from x_0,

    -ln p(x_0) <= KL(q(x_{N-1} | x_0) || prior) + sum over i >= 1 of KL(q(x_{i-1} | x_i, x_0) || p(x_{i-1} | x_i))
                  - E ln p(x_0 | level 0).

q(x_{i-1} | x_i, x_0) has the variance beta~_i = G_i^2 sigma_{i-1}^2 / sigma_i^2, and its mean differs from that of the step by
G_i^2 / (a_i sigma_i) (eps_hat - eps), so the KL divergence of a step is

    D/2 (r - 1 - ln r) + k_i |eps_hat - eps|^2,    r = beta~_i / v_i,    k_i = G_i^4 / (2 v_i a_i^2 sigma_i^2).

All terms except the squared errors are exact. The decoder is evaluated twice, and levels i >= 1 are drawn with probability
proportional to k_i, stratified with two draws per stratum: the counterpart on a chain of the uniform log-SNR of likelihood/bound.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.likelihood.bound import (
    Bound,
    check_pairs,
    noise_error,
    resolved_noise,
    sum_of_pairs,
    sum_squares,
    uniform_and_noise,
)
from score_sde.likelihood.decoder import GAUSSIAN, Decoder
from score_sde.sde_lib import Chain, expand
from score_sde.shapes import Array, Images, Index, Integers, PerImage, Points, Scalar


class ChainScore(Protocol):
    """A score model of a chain, such as `NetworkScore`."""

    def at_level(self, x: Images, level: Integers) -> Images:
        """The score at x (b, ...) and integer levels (b,)."""


def posterior_variances(chain: Chain) -> Points:
    """v_i = beta~_i, the smaller choice; since beta~_0 = 0 would leave the decoder without a density, v_0 = G_0^2."""
    below = jnp.concatenate([chain.sigmas[:1], chain.sigmas[:-1]])
    return jnp.square(chain.step_sigmas * below / chain.sigmas)


VARIANCES: dict[str, Callable[[Chain], Points]] = {
    # The variances of ancestral sampling: G_i^2 for DDPM, beta~_i for SMLD; v_0 = G_0^2 for both.
    "ancestral": lambda chain: jnp.square(chain.ancestral_sigmas.at[0].set(chain.step_sigmas[0])),
    # v_i = G_i^2: the larger choice of Ho et al. 2020, Sec. 3.2, which is beta_i for DDPM.
    "forward": lambda chain: jnp.square(chain.step_sigmas),
    "posterior": posterior_variances,
}


def error_weights(chain: Chain, variances: Points) -> Points:
    """k_i (N,): the weight of |eps_hat - eps|^2 in the bound at each level, in nats."""
    missed = jnp.square(chain.step_sigmas) / (chain.step_alphas * chain.sigmas)
    return 0.5 * jnp.square(missed) / variances


def exact_part(chain: Chain, x0: Images, variances: Points, prior_std: float | Scalar) -> PerImage:
    """The part that needs no network: KL(q(x_{N-1} | x_0) || prior) plus the sum of D/2 (r - 1 - ln r) over steps, in nats (b,)."""
    sigma_end, alpha_end = chain.sigmas[-1] / prior_std, chain.alphas[-1] / prior_std
    posterior = jnp.square(chain.step_sigmas[1:] * chain.sigmas[:-1] / chain.sigmas[1:])
    # r - 1 and not r: near r = 1, r - 1 - ln r would suffer from cancellation.
    excess = jnp.append((posterior - variances[1:]) / variances[1:], jnp.square(sigma_end) - 1.0)
    of_one = 0.5 * jnp.sum(excess - jnp.log1p(excess))
    return x0[0].size * of_one + 0.5 * jnp.square(alpha_end) * sum_squares(x0)


def level_sample(
    score_model: ChainScore,
    chain: Chain,
    x0: Images,
    level: Integers,
    z: Images,
    variances: Points,
    decoder: Decoder = GAUSSIAN,
) -> PerImage:
    """The part of the bound that depends on the network, for the step that leaves `level`, in nats (b,).

    k_i |eps_hat - z|^2 for i >= 1 and the decoder's -ln p(x_0 | level 0) for i = 0, each minus a multiple of |z|^2 - D, which has
    mean 0 (`resolved_noise`).

    Takes clean images x_0, levels in 0 ... N-1 and standard normal noise z. Cost: one evaluation of the score model.
    """
    alpha, sigma = chain.alphas[level], chain.sigmas[level]
    x = expand(alpha, x0) * x0 + expand(sigma, x0) * z
    score = score_model.at_level(x, level)
    eps_hat = -expand(sigma, x0) * score
    weight = error_weights(chain, variances)[level]
    log_snr = 2.0 * jnp.log(alpha / sigma)
    mean = (x + jnp.square(chain.step_sigmas[0]) * score) / chain.step_alphas[0]
    decoded = decoder.nats(x0, mean, variances[0])
    resolved = decoder.curvature(variances[0]) * resolved_noise(z, log_snr)
    of_step = weight * noise_error(eps_hat, z, log_snr)
    return jnp.where(level == 0, decoded - weight * resolved, of_step)


class Levels(NamedTuple):
    """The levels of one draw, and the factor by which the term of each level is multiplied."""

    level: Integers
    factor: PerImage | Scalar


def drawn_levels(chain: Chain, variances: Points, draw: Index, u: PerImage, draws: int) -> Levels:
    """Level 0 for the first two draws, then the levels at a fraction (stratum + u) / strata of the cumulative weight."""
    cumulative = jnp.cumsum(error_weights(chain, variances)[1:])
    strata = draws // 2 - 1
    position = (draw // 2 - 1 + u) / strata * cumulative[-1]
    level = 1 + jnp.minimum(
        jnp.searchsorted(cumulative, position, side="right"), chain.num_scales - 2
    )
    # Levels are drawn in proportion to their weight, so each draw represents its stratum's share of the total weight.
    factor = cumulative[-1] / strata / error_weights(chain, variances)[level]
    first = draw < 2
    return Levels(jnp.where(first, 0, level), jnp.where(first, 1.0, factor))


def every_level(chain: Chain, variances: Points, draw: Index, u: PerImage, draws: int) -> Levels:
    """Level h for draws 2 h and 2 h + 1."""
    return Levels(jnp.full(u.shape, draw // 2), jnp.ones(u.shape, u.dtype))


def discrete_bound(
    score_model: ChainScore,
    chain: Chain,
    x0: Images,
    keys: Array,
    draws: int,
    variances: Array,
    prior_std: float | Scalar,
    decoder: Decoder = GAUSSIAN,
) -> Bound:
    """Estimate the bound for clean images x_0 (b, ...); the value of an image depends only on its own key.

    Args:
      score_model: a discretely trained network (`NetworkScore.at_level`).
      x0: (b, ...), in the units of the process. `GAUSSIAN` takes dequantized images and gives a density;
        `discretised` takes scaled levels v/(L-1) and gives -ln of a probability, which needs no further offset.
      keys: one random key per image, (b,).
      draws: an even number, at least 4. With 2 N or more, every level is visited by exactly two draws.
      variances: v_i, (N,): see VARIANCES. Others, such as those of samplers/optimal_variance.py, may give a tighter bound.
      prior_std: `sde.prior_std`.
      decoder: the decoder of the step from level 0 to x_0.

    Returns:
      A Bound whose nfe is the number of draws actually made.

    Raises:
      ConfigError: draws that are odd or fewer than 4.
      ValueError: variances not of shape (N,), or keys that are not one per image.
    """
    check_pairs(x0, keys, draws)
    if draws < 4:
        raise ConfigError(
            f"draws={draws}: a chain's bound needs 4 or more, two of them for the decoder; likelihood.bound_draws sets it"
        )
    if variances.shape != (chain.num_scales,):
        raise ValueError(
            f"variances of shape {variances.shape}: expected ({chain.num_scales},), one for each level of the chain"
        )
    visit = every_level if draws >= 2 * chain.num_scales else drawn_levels
    draws = min(draws, 2 * chain.num_scales)

    def contribution(draw: Index) -> PerImage:
        u, z = uniform_and_noise(keys, draw, x0)
        level, factor = visit(chain, variances, draw, u, draws)
        return factor * level_sample(score_model, chain, x0, level, z, variances, decoder)

    bound = sum_of_pairs(contribution, draws)
    return bound._replace(nats=bound.nats + exact_part(chain, x0, variances, prior_std))
