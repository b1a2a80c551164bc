"""The weight w(t) of the noise's squared error, E over t ~ U(eps, T) of w(t) R[(eps_hat - eps)^2].

lambda = sigma^2 of the score's error is w = 1; every other weighting is a function of the log-SNR, or of g^2 too:

| weighting  | w                              | is the squared error of / from                                 |
|------------|--------------------------------|----------------------------------------------------------------|
| noise      | 1                              | eps_hat, "simple" (Ho et al. 2020, Eq. 14)                     |
| x0         | 1 / SNR                        | E[x_0 | x_t]                                                   |
| velocity   | 1 + 1 / SNR                    | v = (alpha eps - sigma x_0) / r (Salimans & Ho 2022, App. D)   |
| likelihood | g^2 / sigma^2                  | a bound on the likelihood (Song et al. 2021b, Thm. 1)          |
| min_snr    | min(1, gamma / SNR)            | Hang et al. 2023, Sec. 3.4                                     |
| p2         | 1 / (k + SNR)^gamma            | Choi et al. 2022, Eq. 8                                        |
| edm        | (1 + 1 / (SNR sigma_d^2)) q(t) | Karras et al. 2022, Eq. 8 and Table 1                          |
| flow       | (g^2 / (2 sigma))^2            | the flow's velocity, eps - x_0 on the straight path (Lipman et al. 2023, Eq. 9) |
| flow_logit_normal | (g^2 / (2 sigma))^2 q(t) | Esser et al. 2024, Sec. 3.1                                   |

q is the density of EDM's log-normal times relative to that of uniform ones, so that the expectation over uniform
t is EDM's loss; with `training.times=log_normal` the two densities cancel and what is left is the loss as EDM has it. So is q of the
logit-normal times with `training.times=logit_normal`. The flow's two are stated for the error of its velocity (FLOW_WEIGHTINGS), which
is finite where there is noise alone and w is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from score_sde.options import choose
from score_sde.sde_lib import SDE
from score_sde.shapes import PerImage
from score_sde.training.times import LogitNormalTimes, LogNormalTimes, NormalTimes

Weighting = Callable[[PerImage], PerImage]
"""t -> w."""


def noise_weighting(config: Any, sde: SDE) -> Weighting:
    """1: every noise level's error in the noise weighs alike (DDPM's simple loss)."""
    return jnp.ones_like


def x0_weighting(config: Any, sde: SDE) -> Weighting:
    """sigma^2/alpha^2: the squared error of x_0."""
    return lambda t: jnp.exp(-sde.log_snr(t))


def velocity_weighting(config: Any, sde: SDE) -> Weighting:
    """1 + sigma^2/alpha^2: the squared error of the velocity."""
    return lambda t: 1.0 + jnp.exp(-sde.log_snr(t))


def likelihood_weighting(config: Any, sde: SDE) -> Weighting:
    """g^2/sigma^2: the variational bound (Song et al. 2021b, Theorem 3)."""
    return lambda t: sde.diffusion_squared(t) / jnp.square(sde.sigma(t))


def min_snr_weighting(config: Any, sde: SDE) -> Weighting:
    """min(1, gamma sigma^2/alpha^2): min-SNR (Hang et al. 2023)."""
    gamma = config.training.min_snr
    return lambda t: jnp.minimum(1.0, gamma * jnp.exp(-sde.log_snr(t)))


def p2_weighting(config: Any, sde: SDE) -> Weighting:
    """(k + SNR)^-gamma: P2 (Choi et al. 2022)."""
    k = config.training.p2_k
    gamma = config.training.p2_gamma
    return lambda t: (k + jnp.exp(sde.log_snr(t))) ** -gamma


def edm_weighting(config: Any, sde: SDE) -> Weighting:
    """1 + sigma^2/(alpha sigma_data)^2 at log-normal times: EDM's (Karras et al. 2022), for any density of training times."""
    variance = config.model.sigma_data**2
    times = LogNormalTimes.from_config(config, sde)
    return lambda t: (1.0 + jnp.exp(-sde.log_snr(t)) / variance) / times.correction(t)


WEIGHTINGS: dict[str, Callable[[Any, SDE], Weighting]] = {
    "noise": noise_weighting,
    "x0": x0_weighting,
    "velocity": velocity_weighting,
    "likelihood": likelihood_weighting,
    "min_snr": min_snr_weighting,
    "p2": p2_weighting,
    "edm": edm_weighting,
}


def flow_weighting(config: Any, sde: SDE) -> Weighting:
    """w = 1: all times alike."""
    return jnp.ones_like


def density_of(times: NormalTimes) -> Weighting:
    """w = their density, relative to uniform ones."""
    return lambda t: (times.end - times.eps) * times.density(t)


def flow_logit_normal_weighting(config: Any, sde: SDE) -> Weighting:
    """w = the density of logit-normal times, relative to uniform ones."""
    return density_of(LogitNormalTimes.from_config(config, sde, to_noise=True))


FLOW_WEIGHTINGS: dict[str, Callable[[Any, SDE], Weighting]] = {
    "flow": flow_weighting,
    "flow_logit_normal": flow_logit_normal_weighting,
}
"""Of the squared error of the flow's velocity."""


def log_normal_weighting(config: Any, sde: SDE) -> Weighting:
    """The density of log-normal times, relative to uniform ones."""
    return density_of(LogNormalTimes.from_config(config, sde))


CONSISTENCY_WEIGHTINGS: dict[str, Callable[[Any, SDE], Weighting]] = {
    "uniform": flow_weighting,
    "log_normal": log_normal_weighting,
}
"""Of a consistency model's change from one time to the next: with training.times=log_normal, the second is iCT's."""

CLASSIFIER_WEIGHTINGS: dict[str, Callable[[Any, SDE], Weighting]] = {
    "noise": flow_weighting,
    **CONSISTENCY_WEIGHTINGS,
}
"""Of a classifier's cross entropy: "noise" and "uniform" are one."""


def build_weighting(config: Any, sde: SDE) -> Weighting:
    """The weighting that `training.weighting` names.

    Raises:
      ConfigError: an unknown name.
    """
    weightings = {**WEIGHTINGS, **FLOW_WEIGHTINGS}
    return choose("training.weighting", config.training.weighting, weightings)(config, sde)
