"""Denoising score matching, one number per image (Vincent 2011; Song et al. 2021, Eq. 7).

With x_t = alpha x_0 + sigma z, z ~ N(0, I), the score of x_t | x_0 is -z / sigma, and every loss here is

    lambda(t) R[(s(x_t, t) + z / sigma)^2]  =  (lambda / sigma^2) R[(sigma s + z)^2].

R is the mean over the dimensions of an image (`reduce_mean`) or half their sum. The right-hand form is the
one computed: it never divides by a small sigma. A network that gives 0 has loss 1 in expectation under
R = mean and lambda = sigma^2, D/2 under R = half sum.

A loss takes u in [0, 1) instead of the time, so that who draws u decides how times are spread (independent
for training, stratified for evaluation), and continuous and discrete losses are called alike.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array

from errors import UserError
from sde_lib import SDE, Chain, expand


class Loss(Protocol):
    def __call__(
        self, score_model: Any, x0: Array, u: Array, z: Array, dropout_keys: Array | None = None
    ) -> Array:
        """The loss (b,) of images x0 (b, ...), at the times that u (b,) picks, under noise z (b, ...)."""
        ...


@dataclasses.dataclass(frozen=True)
class ContinuousLoss:
    """The loss at t = eps + u (T - eps), with lambda = sigma^2 or g^2.

    lambda = g^2 bounds the negative log-likelihood (Song et al. 2021b, "Maximum likelihood training",
    Thm. 1) and weights small t heavily; lambda = sigma^2 makes better pictures.
    """

    sde: SDE
    eps: float
    likelihood_weighting: bool
    reduce_mean: bool

    def __call__(
        self, score_model: Any, x0: Array, u: Array, z: Array, dropout_keys: Array | None = None
    ) -> Array:
        return self.at(score_model, x0, self.eps + u * (self.sde.T - self.eps), z, dropout_keys)

    def at(
        self, score_model: Any, x0: Array, t: Array, z: Array, dropout_keys: Array | None = None
    ) -> Array:
        """The loss (b,) at times t (b,) in [eps, T]."""
        mean, sigma = self.sde.marginal(x0, t)
        x = mean + expand(sigma, x0) * z
        score = score_model(x, t, *_if_given(dropout_keys))
        error = denoising_error(score, sigma, z, self.reduce_mean)
        if not self.likelihood_weighting:
            return error
        return self.sde.diffusion_squared(t) / jnp.square(sigma) * error


@dataclasses.dataclass(frozen=True)
class DiscreteLoss:
    """The loss at level floor(u N) of a published chain, with lambda = sigma_i^2.

    For the DDPM chain this is L_simple (Ho et al. 2020, Eq. 14), R[(out - z)^2] for a network that predicts
    noise; for the SMLD chain it is the loss of NCSN (Song & Ermon 2019, Eq. 5-6).
    """

    chain: Chain
    reduce_mean: bool

    def __call__(
        self, score_model: Any, x0: Array, u: Array, z: Array, dropout_keys: Array | None = None
    ) -> Array:
        n = self.chain.num_scales
        # u N can round up to N in float32.
        level = jnp.minimum((u * n).astype(jnp.int32), n - 1)
        return self.at(score_model, x0, level, z, dropout_keys)

    def at(
        self, score_model: Any, x0: Array, level: Array, z: Array, dropout_keys: Array | None = None
    ) -> Array:
        """The loss (b,) at levels (b,) in 0 ... N-1, the smallest noise first."""
        sigma = self.chain.sigmas[level]
        x = expand(self.chain.alphas[level], x0) * x0 + expand(sigma, x0) * z
        score = score_model.at_level(x, level, *_if_given(dropout_keys))
        return denoising_error(score, sigma, z, self.reduce_mean)


def denoising_error(score: Array, sigma: Array, z: Array, reduce_mean: bool) -> Array:
    """R[(sigma s + z)^2], (b,), for scores and noise (b, ...) and sigma (b,)."""
    squares = jnp.square(expand(sigma, score) * score + z).reshape(z.shape[0], -1)
    return jnp.mean(squares, axis=1) if reduce_mean else 0.5 * jnp.sum(squares, axis=1)


def build_loss(config: Any, sde: SDE) -> Loss:
    """The loss that `config.training` names.

    Raises:
      UserError: likelihood weighting of a discrete loss, or eps outside (0, T).
      NoDiscreteForm: a discrete loss of a process that has no published chain.
    """
    training = config.training
    if training.continuous:
        if not 0 < training.eps < sde.T:
            raise UserError(
                f"training.eps={training.eps}: expected a time between 0 and T={sde.T}, such as 1e-5"
            )
        return ContinuousLoss(
            sde, training.eps, training.likelihood_weighting, training.reduce_mean
        )
    if training.likelihood_weighting:
        raise UserError(
            "training.likelihood_weighting=True with training.continuous=False: the weight g(t)^2 belongs "
            "to continuous time and a chain has none; set training.continuous=True, or no weighting"
        )
    return DiscreteLoss(sde.chain(config.model.num_scales), training.reduce_mean)


def _if_given(dropout_keys: Array | None) -> tuple[Array, ...]:
    # A score model known in closed form is called as (x, t): it has no dropout to be given keys for.
    return () if dropout_keys is None else (dropout_keys,)
