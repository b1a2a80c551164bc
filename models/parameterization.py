"""What a network is told about time, what it is given, and what its output means.

| model.predicts | the network is given | its output is               | score                                        |
|----------------|----------------------|-----------------------------|----------------------------------------------|
| noise          | x, 999 t / T         | eps_hat                     | -out / sigma                                 |
| score          | x, sigma             | the score                   | out                                          |
| x0             | x, as the process's  | E[x_0 | x_t]                | (alpha out - x) / sigma^2                    |
| velocity       | x, as the process's  | (alpha eps - sigma x_0) / r | -(x / r + alpha out / sigma) / r             |
| flow           | x, as the process's  | alpha' x_0 + sigma' eps     | (alpha' x - alpha out) / (sigma w)           |
| flow, of intervals   | x, 8 t / T, 8 (t - r) / T | its mean from t to r   | as of flow, where r = t                 |
| edm            | c_in x, ln(rho) / 4  | F, D = c_skip x + c_out F   | as x0 with D                                 |
| edm_ve         | x / alpha, ln(rho / 2)      | F, D = x/alpha + rho F      | out / sigma                           |
| edm_iddpm      | x / r, the nearest of 1000 levels      | eps_hat          | -out / sigma                          |
| discrete DDPM  | x, the level of the same log-SNR            | eps_hat | -out / sigma                              |
| discrete SMLD  | x, round((T - t)(N - 1) / T), 0 = most noise | the score | out                                   |

r^2 = alpha^2 + sigma^2, which is 1 for a process that preserves variance, where the velocity is that of Salimans & Ho 2022;
rho = sigma/alpha, w = alpha sigma' - sigma alpha' with rates of time, and `flow` is the velocity of the probability flow itself,
eps - x_0 on the straight path of flow matching. VP, sub-VP and by default every other process predict noise, the straight path the flow; VE predicts the score, with the division by
sigma inside the network (`model.scale_by_sigma`). 999 gives continuous models the label range of DDPM with
1000 scales, whatever the number of sampling steps; it is a convention that published weights depend on.

The rows noise, score and SMLD are those of score_sde's `get_score_fn`; for DDPM's the published code differs between
its samplers: `model.discrete_labels` has both of its ways.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from score_sde.errors import ConfigError
from score_sde.models.networks import takes_logarithm
from score_sde.options import Section, choose, count, option, positive
from score_sde.sde_lib import SDE, Chain, expand
from score_sde.shapes import Array, Images, Integers, PerImage

MAX_LABEL = 999.0
INTERVAL_LABEL = 8.0


@dataclasses.dataclass(frozen=True)
class PredictionOptions(Section):
    """Fields of config.model that say what a network is given and what it predicts."""

    predicts: str = option(
        "process",
        "what the network gives: process, what is usual under it | noise | score | x0 | velocity | flow | edm | "
        "edm_ve | edm_iddpm, EDM's preconditionings",
    )
    sigma_data: float = option(
        0.5, "predicts=edm, weighting=edm: standard deviation of the scaled data", positive
    )
    num_scales: int = option(
        1000, "levels of the discrete chains (training.continuous=False)", count(10**6)
    )
    discrete_labels: str = option(
        "matched",
        "how a network trained on DDPM's levels is asked at a time between them: matched (by log-SNR) | published_pc | "
        "published_ode",
    )


def noise_label(sde: SDE, t: PerImage) -> PerImage:
    """999 t/T, the label that the published networks are given for a time."""
    return MAX_LABEL * t / sde.T


# By what a network predicts as a rule under a process: the published networks take time so.
NOISE_INPUTS: dict[str, Callable[[SDE, Array], Array]] = {
    "noise": noise_label,
    "flow": noise_label,
    "score": lambda sde, t: sde.sigma(t),
}


@dataclasses.dataclass(frozen=True)
class Prediction(abc.ABC):
    """Maps x and time to what the network is given, and its output to a score. Hashable."""

    sde: SDE

    def noise_input(self, t: PerImage) -> PerImage:
        """What the network is told of the times t."""
        return NOISE_INPUTS[self.sde.predicts](self.sde, t)

    def inputs(self, x: Images, t: PerImage) -> Images:
        """The images that it is given for x."""
        return x

    @abc.abstractmethod
    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        """The score of the marginal at t, from the network's output for x."""

    def velocity(self, out: Images, x: Images, t: PerImage) -> Images:
        """dx/dt of the probability flow, from the same. What knows the image by itself needs no alpha > 0: `SDE.signal_end`."""
        return self.sde.reverse_drift(x, t, self.score(out, x, t), h=0.0)


class NoisePrediction(Prediction):
    """out = eps_hat, the noise of x_t = alpha x_0 + sigma eps."""

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        return -out / expand(self.sde.sigma(t), out)


class ScorePrediction(Prediction):
    """out = score; the network is told sigma."""

    def noise_input(self, t: PerImage) -> PerImage:
        return NOISE_INPUTS["score"](self.sde, t)

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        return out


class X0Prediction(Prediction):
    """out = E[x_0 | x_t]; Tweedie's formula the other way round. The score of an imperfect one grows as 1/sigma^2."""

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        return (alpha * out - x) / sigma / sigma

    def velocity(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        return self.sde.velocity(out, (x - alpha * out) / sigma, t)


class VelocityPrediction(Prediction):
    """out = v = (alpha eps - sigma x_0) / r, at right angles to x / r in the plane of x_0 and eps."""

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        r = jnp.hypot(alpha, sigma)
        return -(x / r + alpha / sigma * out) / r

    def velocity(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        r = jnp.hypot(alpha, sigma)
        turned = (
            x / r
        )  # (x / r, out) is (x_0, eps) turned by the angle whose tangent is sigma / alpha
        x0, noise = (alpha * turned - sigma * out) / r, (sigma * turned + alpha * out) / r
        return self.sde.velocity(x0, noise, t)


class FlowPrediction(Prediction):
    """out = alpha' E[x_0 | x_t] + sigma' E[eps | x_t], the velocity of the probability flow (Lipman et al. 2023)."""

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma, alpha_rate, sigma_rate = (
            expand(of(t), x)
            for of in (self.sde.alpha, self.sde.sigma, self.sde.alpha_rate, self.sde.sigma_rate)
        )
        return (alpha_rate * x - alpha * out) / (sigma * (alpha * sigma_rate - sigma * alpha_rate))

    def velocity(self, out: Images, x: Images, t: PerImage) -> Images:
        return out


class AverageFlowPrediction(FlowPrediction):
    """out = the average velocity from t down to r, of a network that is told the interval t - r too (Geng et al. 2025, Eq. 3).

    Its derivative in time is learnt from (training/mean_flow.py), and label 999 t/T, whose fastest sinusoid turns 159 times in a
    unit of time, would give that derivative the size of a thousand: both labels are 8 t/T here.
    """

    def noise_input(self, t: PerImage) -> PerImage:
        return INTERVAL_LABEL * t / self.sde.T

    def interval(self, r: PerImage, t: PerImage) -> PerImage:
        """What the network is told of the interval from r to t."""
        return INTERVAL_LABEL * (t - r) / self.sde.T


@dataclasses.dataclass(frozen=True)
class EDMPreconditioning(Prediction):
    """E[x_0 | x_t] = c_skip x/alpha + c_out F(c_in x/alpha; ln(rho)/4) (Karras et al. 2022, Eq. 7, Table 1).

    With sigma_data the standard deviation of the data, input and target of F have variance 1 at every noise level,
    and a network that gives 0 is the best linear denoiser of white data.
    """

    sigma_data: float = 0.5
    fourier: bool = False
    """The embedding takes the logarithm of what it is told."""

    def noise_input(self, t: PerImage) -> PerImage:
        noise = -0.125 * self.sde.log_snr(t)
        return jnp.exp(noise) if self.fourier else noise

    def inputs(self, x: Images, t: PerImage) -> Images:
        return x / expand(self._spread(t), x)

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        """(alpha D - x) / sigma^2, with the two terms in x joined: their difference loses digits at small sigma."""
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        spread = expand(self._spread(t), x)
        return self.sigma_data * alpha / (sigma * spread) * out - x / jnp.square(spread)

    def velocity(self, out: Images, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        spread = expand(self._spread(t), x)
        # x is (alpha sigma_data, sigma) and F the turn of it that is left, in units of sigma_data for x_0 and 1 for the noise.
        given = x / spread
        x0 = self.sigma_data * (alpha * self.sigma_data * given + sigma * out) / spread
        noise = (sigma * given - alpha * self.sigma_data * out) / spread
        return self.sde.velocity(x0, noise, t)

    def _spread(self, t: PerImage) -> PerImage:
        """Standard deviation of x_t for white data, alpha sqrt(rho^2 + sigma_data^2)."""
        return jnp.hypot(self.sde.sigma(t), self.sigma_data * self.sde.alpha(t))


class VEPreconditioning(Prediction):
    """E[x_0 | x_t] = x/alpha + rho F(x/alpha; ln(rho/2)), as EDM writes Song et al.'s VE (Karras et al. 2022, Table 1)."""

    def noise_input(self, t: PerImage) -> PerImage:
        return -0.5 * self.sde.log_snr(t) - math.log(2.0)

    def inputs(self, x: Images, t: PerImage) -> Images:
        return x / expand(self.sde.alpha(t), x)

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        return out / expand(self.sde.sigma(t), out)


IDDPM_LEVELS = 1000


class IDDPMPreconditioning(NoisePrediction):
    """E[x_0 | x_t] = x/alpha - rho F(x/r; M - 1 - j) with u_j the nearest to rho of Improved DDPM's levels (Table 1).

    EDM's name for it; F is eps_hat, told an integer.
    """

    def noise_input(self, t: PerImage) -> PerImage:
        levels = jnp.asarray(iddpm_levels(), t.dtype)
        rho = jnp.exp(-0.5 * self.sde.log_snr(t))
        nearest = jnp.argmin(jnp.abs(rho[:, None] - levels[None, :]), axis=1)
        return (IDDPM_LEVELS - 1 - nearest).astype(t.dtype)

    def inputs(self, x: Images, t: PerImage) -> Images:
        return x / expand(jnp.hypot(self.sde.alpha(t), self.sde.sigma(t)), x)


def iddpm_levels() -> np.ndarray:
    """u_0 > ... > u_M = 0 of M = 1000, sigma/alpha of the cosine chain (Nichol & Dhariwal 2021, Eq. 17; Karras et al. 2022, Table 1).

    A step to more noise keeps a thousandth of alpha^2 or more.
    """
    angles = 0.5 * np.pi * np.arange(IDDPM_LEVELS + 1) / (IDDPM_LEVELS * 1.008)
    alpha_squared = np.sin(angles) ** 2
    levels = np.zeros(IDDPM_LEVELS + 1)
    for j in range(IDDPM_LEVELS, 0, -1):
        kept = max(alpha_squared[j - 1] / alpha_squared[j], 0.001)
        levels[j - 1] = np.sqrt((levels[j] ** 2 + 1.0) / kept - 1.0)
    return levels


@dataclasses.dataclass(frozen=True)
class DiscreteNoisePrediction(NoisePrediction):
    """A network trained with the DDPM loss on the integer levels of a chain.

    The chain and the process agree in no time but in noise: alpha^2 at the last level is 6.5 % below that at
    T. So a time is answered at the level of the same log-SNR, interpolated between the table's; for a process
    that preserves variance alpha and sigma agree as well. Below the first level the label stays 0.
    """

    chain: Chain

    def noise_input(self, t: PerImage) -> PerImage:
        levels = jnp.arange(self.chain.num_scales, dtype=t.dtype)
        log_snrs = 2.0 * (jnp.log(self.chain.alphas) - jnp.log(self.chain.sigmas))
        # jnp.interp takes ascending points, and the log-SNR falls with the level.
        return jnp.interp(-self.sde.log_snr(t), -log_snrs.astype(t.dtype), levels)

    def noise_input_at_level(self, level: Integers) -> PerImage:
        return level.astype(jnp.float32)

    def score_at_level(self, out: Images, level: Integers) -> Images:
        return -out / expand(self.chain.sigmas[level], out)


@dataclasses.dataclass(frozen=True)
class PublishedPCNoisePrediction(DiscreteNoisePrediction):
    """As the published predictor-corrector asks: at the label t (N - 1), but with the sigma of the level below it.

    The label is a fraction.
    """

    def noise_input(self, t: PerImage) -> PerImage:
        return t * (self.chain.num_scales - 1) / self.sde.T

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        return self.score_at_level(out, self.noise_input(t).astype(jnp.int32))


@dataclasses.dataclass(frozen=True)
class PublishedODENoisePrediction(DiscreteNoisePrediction):
    """As the published ODE sampler and likelihood ask, which take every network for a continuous one."""

    def noise_input(self, t: PerImage) -> PerImage:
        return noise_label(self.sde, t)


@dataclasses.dataclass(frozen=True)
class DiscreteScorePrediction(ScorePrediction):
    """A network trained with the SMLD loss; its labels count down from the largest noise."""

    chain: Chain

    def noise_input(self, t: PerImage) -> PerImage:
        return jnp.round((self.sde.T - t) * (self.chain.num_scales - 1) / self.sde.T)

    def noise_input_at_level(self, level: Integers) -> PerImage:
        return (self.chain.num_scales - 1 - level).astype(jnp.float32)

    def score_at_level(self, out: Images, level: Integers) -> Images:
        return out


CONTINUOUS: dict[str, type[Prediction]] = {
    "noise": NoisePrediction,
    "score": ScorePrediction,
    "x0": X0Prediction,
    "velocity": VelocityPrediction,
    "flow": FlowPrediction,
    "edm_ve": VEPreconditioning,
    "edm_iddpm": IDDPMPreconditioning,
}
EDM = "edm"
DISCRETE_NOISE: dict[str, type[DiscreteNoisePrediction]] = {
    "matched": DiscreteNoisePrediction,
    "published_pc": PublishedPCNoisePrediction,
    "published_ode": PublishedODENoisePrediction,
}


def build_parameterization(config: Any, sde: SDE) -> Prediction:
    """The parameterization of `config` for networks of this process.

    Raises:
      NoDiscreteForm: `training.continuous=False` for a process without a published chain.
      ConfigError: `model.predicts` or `model.discrete_labels` is unknown, or does not go with the rest.
    """
    model = config.model
    discrete_noise = choose("model.discrete_labels", model.discrete_labels, DISCRETE_NOISE)
    choose("model.predicts", model.predicts, ("process", *CONTINUOUS, EDM))
    predicts = sde.predicts if model.predicts == "process" else model.predicts
    if predicts != "score" and model.scale_by_sigma:
        raise ConfigError(
            f"model.scale_by_sigma=True divides a network's output by sigma, for one that predicts the score, but "
            f"this one predicts {predicts}; set model.scale_by_sigma=False"
        )
    if sde.signal_end < sde.T and predicts in ("noise", "score", "edm_ve", "edm_iddpm"):
        raise ConfigError(
            f"model.predicts={predicts!r} under {type(sde).__name__}, at whose end there is noise alone: it says nothing of the "
            "image there; set model.predicts=flow, velocity, x0 or edm"
        )
    if config.training.continuous:
        if predicts == EDM:
            return EDMPreconditioning(sde, model.sigma_data, takes_logarithm(config))
        told_interval = model.told_interval and predicts == "flow"
        return AverageFlowPrediction(sde) if told_interval else CONTINUOUS[predicts](sde)
    if predicts != sde.predicts:
        raise ConfigError(
            f"model.predicts={model.predicts!r} with training.continuous=False: a chain's network predicts "
            f"{sde.predicts}; set model.predicts='process', or training.continuous=True"
        )
    chain = sde.chain(model.num_scales)
    if predicts == "score":
        return DiscreteScorePrediction(sde, chain)
    return discrete_noise(sde, chain)


def refuse_discrete(config: Any, sde: SDE, what: str) -> None:
    """A discrete VE network knows its noise levels by rounded labels: between them it cannot be asked."""
    if not config.training.continuous and sde.predicts == "score":
        raise ConfigError(
            f"{what} needs the score at every time, but a network trained with training.continuous=False "
            "on the SMLD chain knows its own levels only; use --sampler pc, or train with continuous=True"
        )
