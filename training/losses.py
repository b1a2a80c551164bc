"""Denoising score matching losses, one number per image (Vincent 2011; Song et al. 2021, Eq. 7).

With x_t = alpha x_0 + sigma z, z ~ N(0, I), the score of x_t | x_0 is -z / sigma, and every loss here has the form

    lambda(t) R[(s(x_t, t) + z / sigma)^2]  =  (lambda / sigma^2) R[(sigma s + z)^2].

R is the mean over the dimensions of an image (`reduce_mean`) or half their sum. The right-hand form is the
one computed, because it never divides by a small sigma. With lambda = sigma^2, a network that outputs 0 has
expected loss 1 if R is the mean, and D/2 if R is half the sum.

Flow matching has the velocity of the path in place of the noise (`FlowMatching`).

A loss takes u in [0, 1) instead of the time, so that the caller who samples u decides how times are spread over
a batch (training/draws.py), and continuous and discrete losses have the same signature.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax.numpy as jnp

from score_sde.errors import ConfigError, UserError
from score_sde.models.networks import NETWORKS
from score_sde.models.score import flow_velocity, velocity_of
from score_sde.sde_lib import SDE, Chain, expand
from score_sde.shapes import Images, Integers, Keys, PerImage, check_shape
from score_sde.training.learned_variance import build_hybrid
from score_sde.training.times import Times, build_times
from score_sde.training.weightings import FLOW_WEIGHTINGS, Weighting, build_weighting


class Loss(Protocol):
    """A per-image loss, as a function of the score model."""

    def __call__(
        self, score_model: Any, x0: Images, u: PerImage, z: Images, dropout_keys: Keys | None = None
    ) -> PerImage:
        """Return the loss of each image x0, at the times selected by u, with noise z."""
        ...

    def log_snr(self, u: PerImage) -> PerImage:
        """Return ln(alpha^2 / sigma^2) at the times selected by u; it decreases with u."""
        ...


@dataclasses.dataclass(frozen=True)
class ContinuousLoss:
    """The loss w(t) R[(sigma s + z)^2], with training times of any density.

    The objective is its mean over uniform t in [eps, T]. The weighting determines the objective (training/weightings.py:
    w = lambda / sigma^2), the density of times only the variance of its gradient (training/times.py).
    """

    sde: SDE
    times: Times
    weighting: Weighting
    reduce_mean: bool

    def __call__(
        self, score_model: Any, x0: Images, u: PerImage, z: Images, dropout_keys: Keys | None = None
    ) -> PerImage:
        t = self.times.at(u)
        return self.times.correction(t) * self.at(score_model, x0, t, z, dropout_keys)

    def at(
        self, score_model: Any, x0: Images, t: PerImage, z: Images, dropout_keys: Keys | None = None
    ) -> PerImage:
        """Return the loss at times t in [eps, T], without the correction for their density."""
        mean, sigma = self.sde.marginal(x0, t)
        x = mean + expand(sigma, x0) * z
        return self.weighting(t) * self.error(score_model, x, t, x0, z, dropout_keys)

    def error(
        self,
        score_model: Any,
        x: Images,
        t: PerImage,
        x0: Images,
        z: Images,
        dropout_keys: Keys | None = None,
    ) -> PerImage:
        """Return R of the squared error of the model at x = x_t, made of images x0 and noise z."""
        score = score_model(x, t, *_if_given(dropout_keys))
        return denoising_error(score, self.sde.sigma(t), z, self.reduce_mean)

    def log_snr(self, u: PerImage) -> PerImage:
        return self.sde.log_snr(self.times.at(u))


@dataclasses.dataclass(frozen=True)
class FlowMatching(ContinuousLoss):
    """The flow-matching loss w(t) R[(v(x_t, t) - alpha' x_0 - sigma' z)^2], with times up to T itself.

    Lipman et al. 2023, Eq. 9; Albergo & Vanden-Eijnden 2023, whose stochastic interpolants have any alpha and sigma. On the
    straight path the velocity 0 has loss 1 + E[x_0^2]. The exact velocity has loss l/c for data of variance l, with
    c = alpha^2 l + sigma^2, which is (pi/2) sqrt(l) averaged over time.
    """

    def error(
        self,
        score_model: Any,
        x: Images,
        t: PerImage,
        x0: Images,
        z: Images,
        dropout_keys: Keys | None = None,
    ) -> PerImage:
        native = velocity_of(score_model)
        velocity = (
            flow_velocity(self.sde, score_model, x, t)
            if native is None
            else native(x, t, *_if_given(dropout_keys))
        )
        check_shape("the velocity", velocity.shape, z.shape)
        error = velocity - self.sde.velocity(x0, z, t)
        return of_image(jnp.square(error), self.reduce_mean)

    def log_snr(self, u: PerImage) -> PerImage:
        return self.sde.log_snr(jnp.minimum(self.times.at(u), self.sde.signal_end))


class UncertainLoss(ContinuousLoss):
    """The loss R[l / exp(u) + u], with l the weighted error and u the network's log-variance at this time (Karras et al. 2024b).

    It is minimal in u where exp(u) = E[l]. There every noise level has the loss 1 + u and gradients of similar size, whatever
    the weighting: what weights a noise level is the density from which times are drawn, since u is not corrected for it. The score
    model must have a `log_variance`; l includes the correction for the density of times.
    """

    def __call__(
        self, score_model: Any, x0: Images, u: PerImage, z: Images, dropout_keys: Keys | None = None
    ) -> PerImage:
        log_variance = score_model.log_variance(self.times.at(u))
        error = super().__call__(score_model, x0, u, z, dropout_keys)
        dimensions = 1.0 if self.reduce_mean else 0.5 * x0[0].size
        return error * jnp.exp(-log_variance) + dimensions * log_variance


@dataclasses.dataclass(frozen=True)
class DiscreteLoss:
    """The loss at level floor(u N) of a published discrete chain, with lambda = sigma_i^2.

    For the DDPM chain this is L_simple (Ho et al. 2020, Eq. 14), R[(out - z)^2] for a network that predicts
    noise; for the SMLD chain it is the loss of NCSN (Song & Ermon 2019, Eq. 5-6).
    """

    chain: Chain
    reduce_mean: bool

    def __call__(
        self, score_model: Any, x0: Images, u: PerImage, z: Images, dropout_keys: Keys | None = None
    ) -> PerImage:
        return self.at(score_model, x0, self.level(u), z, dropout_keys)

    def level(self, u: PerImage) -> Integers:
        n = self.chain.num_scales
        # u N can round up to N in float32.
        return jnp.minimum((u * n).astype(jnp.int32), n - 1)

    def log_snr(self, u: PerImage) -> PerImage:
        level = self.level(u)
        return 2.0 * (jnp.log(self.chain.alphas[level]) - jnp.log(self.chain.sigmas[level]))

    def at(
        self,
        score_model: Any,
        x0: Images,
        level: Integers,
        z: Images,
        dropout_keys: Keys | None = None,
    ) -> PerImage:
        """Return the loss at levels in 0 ... N-1, the lowest noise first."""
        x = self.noised(x0, level, z)
        return self.error(score_model.at_level(x, level, *_if_given(dropout_keys)), level, z)

    def noised(self, x0: Images, level: Integers, z: Images) -> Images:
        """Return the noised images x_i, made of images x0 and noise z."""
        return expand(self.chain.alphas[level], x0) * x0 + expand(self.chain.sigmas[level], x0) * z

    def error(self, score: Images, level: Integers, z: Images) -> PerImage:
        return denoising_error(score, self.chain.sigmas[level], z, self.reduce_mean)


def denoising_error(score: Images, sigma: PerImage, z: Images, reduce_mean: bool) -> PerImage:
    """Return R[(sigma s + z)^2] for each image."""
    check_shape("the score", score.shape, z.shape)
    return of_image(jnp.square(expand(sigma, score) * score + z), reduce_mean)


def of_image(squares: Images, reduce_mean: bool) -> PerImage:
    """Apply R: the mean over the dimensions of each image, or half their sum."""
    squares = squares.reshape(squares.shape[0], -1)
    return jnp.mean(squares, axis=1) if reduce_mean else 0.5 * jnp.sum(squares, axis=1)


def build_loss(config: Any, sde: SDE) -> Loss:
    """Build the loss that `config.training` names.

    Raises:
      UserError: a weighting or density of times that is unknown or unavailable for a discrete loss; eps outside (0, T); or a
        learned variance or uncertainty that the network does not output or the loss does not train.
      NoDiscreteForm: a discrete loss for a process without a published chain.
    """
    if config.training.learned_uncertainty:
        check_gives(config.model.name, "log_variance", "training.learned_uncertainty")
    return (
        build_continuous(config, sde) if config.training.continuous else build_discrete(config, sde)
    )


def build_continuous(config: Any, sde: SDE) -> ContinuousLoss:
    """Build the loss in continuous time; see `build_loss`."""
    training = config.training
    if config.model.learned_variance:
        raise UserError(
            "model.learned_variance=True with training.continuous=True, whose losses do not train the variance; set "
            "training.continuous=False, or learned_variance=False"
        )
    flow = training.weighting in FLOW_WEIGHTINGS
    times, weighting = build_times(config, sde, flow), build_weighting(config, sde)
    if flow and training.learned_uncertainty:
        raise ConfigError(
            f"training.learned_uncertainty=True with training.weighting={training.weighting!r}: the uncertainty is learned only "
            "with score matching losses; use another weighting, or learned_uncertainty=False"
        )
    kind = UncertainLoss if training.learned_uncertainty else ContinuousLoss
    loss = FlowMatching if flow else kind
    return loss(sde, times, weighting, training.reduce_mean)


def build_discrete(config: Any, sde: SDE) -> Loss:
    """Build the loss for a discrete chain of levels; see `build_loss`."""
    training = config.training
    only_so = (("weighting", "noise"), ("times", "uniform"), ("learned_uncertainty", False))
    for field, only in only_so:
        if training[field] != only:
            raise UserError(
                f"training.{field}={training[field]!r} belongs to continuous time, and training.continuous=False "
                f"trains on a chain of levels; set training.continuous=True, or {field}={only!r}"
            )
    loss = DiscreteLoss(sde.chain(config.model.num_scales), training.reduce_mean)
    if not config.model.learned_variance:
        return loss
    check_gives(config.model.name, "learned_variance", "model.learned_variance")
    return build_hybrid(config, loss)


def check_gives(name: str, attribute: str, field: str) -> None:
    """Check that the network class has the attribute (an extra output) which `field` requires.

    Raises:
      ConfigError: it does not; the message lists the networks that do.
    """
    able = [other for other, network in NETWORKS.items() if hasattr(network, attribute)]
    if name not in able:
        raise ConfigError(
            f"{field}=True with model.name={name!r}, which gives no {attribute}; use model.name={' or '.join(able)}, or "
            f"{field}=False"
        )


def _if_given(dropout_keys: Keys | None) -> tuple[Keys, ...]:
    # A score model in closed form takes only (x, t): it has no dropout and needs no keys.
    return () if dropout_keys is None else (dropout_keys,)
