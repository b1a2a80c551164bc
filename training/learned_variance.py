"""The hybrid loss of Improved DDPM, which also trains the variances of a chain's steps (Nichol & Dhariwal 2021, Sec. 3.1).

A network with twice the channels outputs the noise and v, each element of which determines the variance of that element in the
step from its level,

    ln variance = f ln beta + (1 - f) ln beta_tilde,    f = (v + 1)/2    (Eq. 15; beta_tilde_1 is used in place of beta_tilde_0),

and the loss is L_simple + L_vlb/1000 (Eq. 16). The terms of the bound train only v, since the mean enters them as a constant. They
are in bits/dim, estimated as N times the term of a randomly chosen level.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.models.score import said_of_variance
from score_sde.sde_lib import Chain, expand
from score_sde.shapes import Images, Integers, Keys, PerImage, Points

BOUND_SHARE = 1e-3


def log_variances(chain: Chain) -> tuple[Points, Points]:
    """Return ln beta_i and ln beta_tilde_i of all levels, with ln beta_tilde_1 in place of ln beta_tilde_0."""
    forward = 2.0 * jnp.log(chain.step_sigmas)
    posterior = forward[1:] + 2.0 * jnp.log(chain.sigmas[:-1] / chain.sigmas[1:])
    return forward, jnp.concatenate([posterior[:1], posterior])


def between(v: Images, forward: PerImage, posterior: PerImage) -> Images:
    """Interpolate the log-variance by the network's output v between the two log-variances of each image."""
    share = 0.5 * (v + 1.0)
    return share * expand(forward, v) + (1.0 - share) * expand(posterior, v)


def step_divergence(missed: Images, log_true: PerImage, log_variance: Images) -> Images:
    """Return KL(N(m, e^log_true) || N(m + missed, e^log_variance)) per element, in nats."""
    behind = expand(log_true, missed) - log_variance
    return 0.5 * (jnp.exp(behind) - 1.0 - behind + jnp.square(missed) * jnp.exp(-log_variance))


def level_cost(
    x0: Images, mean: Images, log_std: Images, low: float, high: float, levels: int
) -> Images:
    """Return -ln of the mass that a normal distribution assigns to each element's quantization interval, in nats.

    The intervals surround `levels` evenly spaced values from low to high; the two outer ones extend to infinity. The distribution
    function is the published tanh approximation, and masses are clipped below at 1e-12.
    """
    half, edge = 0.5 * (high - low) / (levels - 1), 5e-4 * (high - low)
    above, below = ((x0 - mean + side * half) * jnp.exp(-log_std) for side in (1.0, -1.0))
    mass = jnp.where(
        x0 < low + edge,
        _cdf(above),
        jnp.where(x0 > high - edge, 1.0 - _cdf(below), _cdf(above) - _cdf(below)),
    )
    return -jnp.log(jnp.maximum(mass, 1e-12))


def _cdf(x: Images) -> Images:
    return 0.5 * (1.0 + jnp.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


class Simple(Protocol):
    """The interface of L_simple, the noise-prediction loss at a chain's levels: `DiscreteLoss` (losses.py)."""

    @property
    def chain(self) -> Chain: ...

    @property
    def reduce_mean(self) -> bool: ...

    def level(self, u: PerImage) -> Integers: ...

    def log_snr(self, u: PerImage) -> PerImage: ...

    def noised(self, x0: Images, level: Integers, z: Images) -> Images: ...

    def error(self, score: Images, level: Integers, z: Images) -> PerImage: ...


@dataclasses.dataclass(frozen=True)
class HybridLoss:
    """The loss L_simple + L_vlb/1000, for images with `levels` evenly spaced values from low to high.

    Cost: one network evaluation.
    """

    simple: Simple
    low: float
    high: float
    levels: int

    def __call__(
        self, score_model: Any, x0: Images, u: PerImage, z: Images, dropout_keys: Keys | None = None
    ) -> PerImage:
        return self.at(score_model, x0, self.simple.level(u), z, dropout_keys)

    def log_snr(self, u: PerImage) -> PerImage:
        return self.simple.log_snr(u)

    def at(
        self,
        score_model: Any,
        x0: Images,
        level: Integers,
        z: Images,
        dropout_keys: Keys | None = None,
    ) -> PerImage:
        """Return the loss at levels in 0 ... N-1, the lowest noise first."""
        given = () if dropout_keys is None else (dropout_keys,)
        x = self.simple.noised(x0, level, z)
        score, v = score_model.at_level_with_variance(x, level, *given)
        bits = self.bits(jax.lax.stop_gradient(score), said_of_variance(v), x, x0, level, z)
        terms = self.simple.chain.num_scales * bits
        return self.simple.error(score, level, z) + BOUND_SHARE * terms

    def bits(
        self, score: Images, v: Images, x: Images, x0: Images, level: Integers, z: Images
    ) -> PerImage:
        """Return the bound's term for the step from this level, in bits: the mean over the dimensions, or half their sum."""
        chain = self.simple.chain
        forward, posterior = (table[level] for table in log_variances(chain))
        log_variance = between(v, forward, posterior)
        tables = (chain.step_alphas, jnp.square(chain.step_sigmas), chain.sigmas)
        a, beta, sigma = (expand(table[level], x) for table in tables)
        of_step = step_divergence(beta / (a * sigma) * (sigma * score + z), posterior, log_variance)
        mean = (x + beta * score) / a
        decoded = level_cost(x0, mean, 0.5 * log_variance, self.low, self.high, self.levels)
        nats = jnp.where(level == 0, self._of_image(decoded), self._of_image(of_step))
        return nats / math.log(2.0)

    def _of_image(self, values: Images) -> PerImage:
        values = values.reshape(values.shape[0], -1)
        return jnp.mean(values, 1) if self.simple.reduce_mean else 0.5 * jnp.sum(values, 1)


def build_hybrid(config: Any, simple: Simple) -> HybridLoss:
    """Build the hybrid loss for the images that config.data describes.

    Raises:
      ConfigError: the images have no discrete levels.
    """
    data = config.data
    if not data.num_levels:
        raise ConfigError(
            "model.learned_variance=True with data.num_levels=0: the bound's last term is the probability of a level; set it to the "
            "images' number of levels, such as 256"
        )
    return HybridLoss(simple, -1.0 if data.centered else 0.0, 1.0, data.num_levels)
