"""Loss weightings: the weight w(t) of the squared error of the noise in E_{t ~ U(eps, T)} w(t) R[(eps_hat - eps)^2].

The weight lambda = sigma^2 of the score's squared error corresponds to w = 1. Every other weighting is a function of the
log-SNR, and possibly of g^2:

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

The density q of EDM's log-normal times is relative to the uniform density, so that the expectation over uniform t is EDM's
loss; with `training.times=log_normal` the two densities cancel and EDM's loss is computed as published. The same holds for
flow_logit_normal, with q the density of logit-normal times, and `training.times=logit_normal`. The two flow weightings are
implemented as weights of the velocity's squared error (FLOW_WEIGHTINGS), which is finite for pure noise, where w is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.errors import ConfigError
from score_sde.options import choose
from score_sde.sde_lib import SDE
from score_sde.sde_lib.base import CHECKED_TIMES
from score_sde.shapes import PerImage
from score_sde.training.times import LogitNormalTimes, LogNormalTimes, NormalTimes

Weighting = Callable[[PerImage], PerImage]
"""t -> w."""


def noise_weighting(config: Any, sde: SDE) -> Weighting:
    """w = 1: the error of the noise has the same weight at every noise level (DDPM's simple loss)."""
    return jnp.ones_like


def x0_weighting(config: Any, sde: SDE) -> Weighting:
    """w = sigma^2/alpha^2: the squared error of x_0."""
    return lambda t: jnp.exp(-sde.log_snr(t))


def velocity_weighting(config: Any, sde: SDE) -> Weighting:
    """w = 1 + sigma^2/alpha^2: the squared error of the velocity."""
    return lambda t: 1.0 + jnp.exp(-sde.log_snr(t))


def likelihood_weighting(config: Any, sde: SDE) -> Weighting:
    """w = g^2/sigma^2: the variational bound (Song et al. 2021b, Theorem 3)."""
    return lambda t: sde.diffusion_squared(t) / jnp.square(sde.sigma(t))


def min_snr_weighting(config: Any, sde: SDE) -> Weighting:
    """w = min(1, gamma sigma^2/alpha^2): min-SNR (Hang et al. 2023)."""
    gamma = config.training.min_snr
    return lambda t: jnp.minimum(1.0, gamma * jnp.exp(-sde.log_snr(t)))


def p2_weighting(config: Any, sde: SDE) -> Weighting:
    """w = (k + SNR)^-gamma: P2 (Choi et al. 2022)."""
    k = config.training.p2_k
    gamma = config.training.p2_gamma
    return lambda t: (k + jnp.exp(sde.log_snr(t))) ** -gamma


def edm_weighting(config: Any, sde: SDE) -> Weighting:
    """w = (1 + sigma^2/(alpha sigma_data)^2) q(t), q log-normal: EDM's loss (Karras et al. 2022), for any density of times."""
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
    """w = the density of these times, relative to the uniform density."""
    return lambda t: (times.end - times.eps) * times.density(t)


def flow_logit_normal_weighting(config: Any, sde: SDE) -> Weighting:
    """w = the density of logit-normal times, relative to the uniform density."""
    return density_of(LogitNormalTimes.from_config(config, sde, to_noise=True))


FLOW_WEIGHTINGS: dict[str, Callable[[Any, SDE], Weighting]] = {
    "flow": flow_weighting,
    "flow_logit_normal": flow_logit_normal_weighting,
}
"""Weights of the squared error of the flow's velocity."""


def log_normal_weighting(config: Any, sde: SDE) -> Weighting:
    """w = the density of log-normal times, relative to the uniform density."""
    return density_of(LogNormalTimes.from_config(config, sde))


CONSISTENCY_WEIGHTINGS: dict[str, Callable[[Any, SDE], Weighting]] = {
    "uniform": flow_weighting,
    "log_normal": log_normal_weighting,
}
"""Weights of a consistency model's change between neighboring times; log_normal with training.times=log_normal is that of iCT."""

CLASSIFIER_WEIGHTINGS: dict[str, Callable[[Any, SDE], Weighting]] = {
    "noise": flow_weighting,
    **CONSISTENCY_WEIGHTINGS,
}
"""Weightings of a classifier's cross-entropy; "noise" and "uniform" are the same."""


def build_weighting(config: Any, sde: SDE) -> Weighting:
    """Build the weighting that `training.weighting` names.

    Raises:
      ConfigError: the name is unknown, or a weight is negative or not finite.
    """
    weightings = {**WEIGHTINGS, **FLOW_WEIGHTINGS}
    name, eps = config.training.weighting, config.training.eps
    weighting = choose("training.weighting", name, weightings)(config, sde)
    check_weights(name, weighting, eps, sde.T if name in FLOW_WEIGHTINGS else sde.signal_end)
    return weighting


def check_weights(name: str, weighting: Weighting, eps: float, end: float) -> None:
    """Refuse a weighting with negative weights, of which training would increase the error, or with infinite ones."""
    times = np.linspace(eps, end, CHECKED_TIMES)
    with jax.ensure_compile_time_eval():
        weights = np.broadcast_to(np.asarray(weighting(jnp.asarray(times)), float), times.shape)
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ConfigError(
            f"training.weighting={name!r} is {weights[at]:.4g} at t={times[at]:.4g}: expected weights that are finite and 0 or more from "
            f"training.eps={eps:g} to T={end:g}; correct it in training/weightings.py, or its options"
        )
