"""Predictors: one step of the reverse process, from time t exactly to s < t.

Each is a function (score_model, sde, x, t, s, z) -> x at s, with x and z (b, ...) and scalars t and s, which takes one
evaluation of the score model. The mean coefficient a and the variance tau^2 of x_t given x_s come from the process itself,
so each predictor works for every process. Below, `score` is evaluated at (x, t).
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from score_sde.models.score import (
    ScoreModel,
    denoise,
    said_of_variance,
    score_and_variance,
    score_at,
)
from score_sde.sde_lib import SDE
from score_sde.shapes import Images, PerImage, Scalar

Predictor = Callable[[ScoreModel, SDE, Images, Scalar, Scalar, Images], Images]


def batch_times(x: Images, t: Scalar) -> PerImage:
    """The scalar time t repeated for each image, (b,)."""
    return jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[:1])


def tweedie(score: ScoreModel, sde: SDE, x: Images, t: Scalar) -> Images:
    """E[x_0 | x_t] = (x + sigma^2 score) / alpha (b, ...) at a scalar time t (Efron 2011); one evaluation.

    The last step of sampling where the remaining noise is removed.
    """
    times = batch_times(x, t)
    return denoise(sde, score_at(score, x, times), x, times)


def euler_maruyama(
    score: ScoreModel, sde: SDE, x: Images, t: Scalar, s: Scalar, z: Images
) -> Images:
    """Euler-Maruyama on the reverse SDE: x - dt (f x - g^2 score) + g sqrt(dt) z, dt = t - s.

    score_sde uses dt = 1/N whatever its grid; here dt is the step of the grid.
    """
    dt = t - s
    times = batch_times(x, t)
    drift = sde.reverse_drift(x, times, score_at(score, x, times))
    return x - dt * drift + sde.diffusion(t) * jnp.sqrt(dt) * z


def reverse_diffusion(
    score: ScoreModel, sde: SDE, x: Images, t: Scalar, s: Scalar, z: Images
) -> Images:
    """The discretization of the forward step run backwards: (2 - a) x + tau^2 score + tau z.

    Song et al. 2021, Eq. 46 with f_i = (a - 1) x, G_i = tau.
    """
    a, variance = sde.alpha_between(s, t), sde.variance_between(s, t)
    return (2.0 - a) * x + variance * score_at(score, x, batch_times(x, t)) + jnp.sqrt(variance) * z


def probability_flow(
    score: ScoreModel, sde: SDE, x: Images, t: Scalar, s: Scalar, z: Images
) -> Images:
    """Reverse diffusion of the probability-flow ODE, (2 - a) x + tau^2 score / 2: half the score, no noise.

    Song et al. 2021, App. D.3, "probability flow" in their Table 1. With a corrector it is their best sampler for both
    models there; without one, samplers/ode.py solves the same ODE better.
    """
    a, variance = sde.alpha_between(s, t), sde.variance_between(s, t)
    return (2.0 - a) * x + 0.5 * variance * score_at(score, x, batch_times(x, t))


def ancestral_mean(score: ScoreModel, sde: SDE, x: Images, t: Scalar, s: Scalar) -> Images:
    """E[x_s | x_t] to first order in the score: (x + tau^2 score) / a (Song et al. 2021, App. F)."""
    a, variance = sde.alpha_between(s, t), sde.variance_between(s, t)
    return (x + variance * score_at(score, x, batch_times(x, t))) / a


def ancestral_forward(
    score: ScoreModel, sde: SDE, x: Images, t: Scalar, s: Scalar, z: Images
) -> Images:
    """`ancestral_mean` + tau z, with the forward variance tau^2 (Ho et al. 2020, Sec. 3.2: beta, optimal for unit-variance data).

    Also Song et al. 2021, Eq. 4. One evaluation.
    """
    return ancestral_mean(score, sde, x, t, s) + jnp.sqrt(sde.variance_between(s, t)) * z


def ancestral_posterior(
    score: ScoreModel, sde: SDE, x: Images, t: Scalar, s: Scalar, z: Images
) -> Images:
    """`ancestral_mean` + tau sigma_s / sigma_t z, with the variance of x_s given x_t and x_0 (Ho et al. 2020, Sec. 3.2: beta-tilde).

    For VE this is the ancestral sampling of SMLD (Song et al. 2021, Eq. 47). One evaluation.
    """
    std = jnp.sqrt(sde.variance_between(s, t)) * sde.sigma(s) / sde.sigma(t)
    return ancestral_mean(score, sde, x, t, s) + std * z


def ancestral_learned(
    score: ScoreModel, sde: SDE, x: Images, t: Scalar, s: Scalar, z: Images
) -> Images:
    """Ancestral sampling with a variance between these two, predicted by the network per dimension (Nichol & Dhariwal 2021, Eq. 15).

    On a grid with fewer steps than the chain, it lies between the two variances of the longer step, as in the respaced
    chain.

    Raises:
      ConfigError: the model does not predict a variance.
    """
    value, v = score_and_variance(score, x, batch_times(x, t))
    a, variance = sde.alpha_between(s, t), sde.variance_between(s, t)
    share, ratio = 0.5 * (said_of_variance(v) + 1.0), sde.sigma(s) / sde.sigma(t)
    return (x + variance * value) / a + jnp.sqrt(variance) * ratio ** (1.0 - share) * z


PREDICTORS: dict[str, Predictor | None] = {
    "euler_maruyama": euler_maruyama,
    "reverse_diffusion": reverse_diffusion,
    "ancestral_sampling": ancestral_forward,
    "ancestral_sampling_posterior": ancestral_posterior,
    "probability_flow": probability_flow,
    "none": None,
}

LEARNED: dict[str, Predictor] = {"ancestral_sampling_learned": ancestral_learned}
"""Predictors for networks that also predict a variance."""
