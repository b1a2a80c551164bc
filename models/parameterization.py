"""Parameterizations: a network's noise input, the scale of its input image, and the meaning of its output.

| model.predicts      | network inputs                       | network output              | score                              |
|---------------------|--------------------------------------|-----------------------------|------------------------------------|
| noise               | x, default                           | eps_hat                     | -out / sigma                       |
| score               | x, sigma                             | the score                   | out                                |
| x0                  | x, default                           | E[x_0] given x_t            | (alpha out - x) / sigma^2          |
| velocity            | x, default                           | (alpha eps - sigma x_0) / r | -(x / r + alpha out / sigma) / r   |
| flow                | x, default                           | alpha' x_0 + sigma' eps     | (alpha' x - alpha out) / (sigma w) |
| flow over intervals | x, 8 t / T, 8 (t - r) / T            | mean of flow from t to r    | as for flow, at r = t              |
| edm                 | c_in x, ln(rho) / 4                  | F, D = c_skip x + c_out F   | as for x0, with D                  |
| edm_ve              | x / alpha, ln(rho / 2)               | F, D = x / alpha + rho F    | out / sigma                        |
| edm_iddpm           | x / r, nearest of 1000 levels        | eps_hat                     | -out / sigma                       |
| discrete DDPM       | x, level of equal log-SNR            | eps_hat                     | -out / sigma                       |
| discrete SMLD       | x, round((T - t)(N - 1) / T)         | the score                   | out                                |

The default noise input is that of the process, whatever is predicted: sigma under VE, 999 t / T otherwise. The factor
999 gives continuous models the label range of DDPM with 1000 scales, whatever the number of sampling steps; it is a
convention that published weights depend on. SMLD's label 0 is the largest noise.

Here r^2 = alpha^2 + sigma^2, which is 1 for a variance-preserving process, whose velocity is that of Salimans & Ho 2022;
rho = sigma / alpha; w = alpha sigma' - sigma alpha', where primes are time derivatives. `flow` is the velocity of the
probability flow itself, eps - x_0 on the straight path of flow matching.

Unless model.predicts says otherwise, networks predict the flow on the straight path, the score under VE, with the division
by sigma inside the network (`model.scale_by_sigma`), and noise under VP, sub-VP and, by default, any other process.

The rows noise, score and SMLD are those of score_sde's `get_score_fn`. For DDPM the published samplers differ from each
other; `model.discrete_labels` offers both of their conventions.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.models.networks import divides_by_sigma, takes_logarithm
from score_sde.models.preconditioning import (
    EDMPreconditioning,
    IDDPMPreconditioning,
    VEPreconditioning,
)
from score_sde.models.predictions import (
    AverageFlowPrediction,
    FlowPrediction,
    NoisePrediction,
    Prediction,
    ScorePrediction,
    VelocityPrediction,
    X0Prediction,
    noise_label,
)
from score_sde.options import Section, choose, count, option, positive
from score_sde.sde_lib import SDE, Chain, expand
from score_sde.shapes import Images, Integers, PerImage


@dataclasses.dataclass(frozen=True)
class PredictionOptions(Section):
    """Options of config.model that set a network's inputs and what it predicts."""

    predicts: str = option(
        "process",
        "what the network predicts: process, the usual choice for the process | noise | score | x0 | velocity | flow | edm | edm_ve | "
        "edm_iddpm, EDM's preconditionings",
    )
    sigma_data: float = option(
        0.5, "predicts=edm, weighting=edm: standard deviation of the scaled data", positive
    )
    num_scales: int = option(
        1000, "noise levels of the discrete chains (training.continuous=False)", count(10**6)
    )
    discrete_labels: str = option(
        "matched",
        "label that a network trained on DDPM's levels gets at a time between them: matched (by log-SNR) | published_pc | published_ode",
    )


@dataclasses.dataclass(frozen=True)
class DiscreteNoisePrediction(NoisePrediction):
    """A network trained with the DDPM loss on the integer levels of a chain.

    The chain corresponds to the process by noise level and not by time: alpha^2 at the last level is 6.5 % below that
    at T. A time is therefore mapped to the level of equal log-SNR, interpolated between levels; for a variance-preserving
    process alpha and sigma then agree as well. Times with less noise than the first level get the label 0.
    """

    chain: Chain

    def noise_input(self, t: PerImage) -> PerImage:
        levels = jnp.arange(self.chain.num_scales, dtype=t.dtype)
        log_snrs = 2.0 * (jnp.log(self.chain.alphas) - jnp.log(self.chain.sigmas))
        # jnp.interp needs ascending points, but the log-SNR falls with the level: hence the signs.
        return jnp.interp(-self.sde.log_snr(t), -log_snrs.astype(t.dtype), levels)

    def noise_input_at_level(self, level: Integers) -> PerImage:
        return level.astype(jnp.float32)

    def score_at_level(self, out: Images, level: Integers) -> Images:
        return -out / expand(self.chain.sigmas[level], out)


@dataclasses.dataclass(frozen=True)
class PublishedPCNoisePrediction(DiscreteNoisePrediction):
    """The published predictor-corrector's convention: the fractional label t (N - 1) / T, with the sigma of the level below it."""

    def noise_input(self, t: PerImage) -> PerImage:
        return t * (self.chain.num_scales - 1) / self.sde.T

    def score(self, out: Images, x: Images, t: PerImage) -> Images:
        return self.score_at_level(out, self.noise_input(t).astype(jnp.int32))


@dataclasses.dataclass(frozen=True)
class PublishedODENoisePrediction(DiscreteNoisePrediction):
    """The convention of the published ODE sampler and likelihood, which treat every network as a continuous one."""

    def noise_input(self, t: PerImage) -> PerImage:
        return noise_label(self.sde, t)


@dataclasses.dataclass(frozen=True)
class DiscreteScorePrediction(ScorePrediction):
    """A network trained with the SMLD loss; label 0 is the largest noise."""

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
NOT_POSITIVE = {
    "edm_ve": "itself a logarithm, and negative at small noise",
    "edm_iddpm": "a level index, which can be 0",
}
DISCRETE_NOISE: dict[str, type[DiscreteNoisePrediction]] = {
    "matched": DiscreteNoisePrediction,
    "published_pc": PublishedPCNoisePrediction,
    "published_ode": PublishedODENoisePrediction,
}


def build_parameterization(config: Any, sde: SDE) -> Prediction:
    """Build the parameterization that `config` selects for a network of this process.

    Raises:
      NoDiscreteForm: `training.continuous=False` for a process without a published chain.
      ConfigError: `model.predicts` or `model.discrete_labels` is unknown, or incompatible with other options.
    """
    model = config.model
    discrete_noise = choose("model.discrete_labels", model.discrete_labels, DISCRETE_NOISE)
    choose("model.predicts", model.predicts, ("process", *CONTINUOUS, EDM))
    predicts = sde.predicts if model.predicts == "process" else model.predicts
    if predicts != "score" and model.scale_by_sigma:
        raise ConfigError(
            f"model.scale_by_sigma=True divides the output by sigma, for a network that predicts the score, but "
            f"this one predicts {predicts}; set model.scale_by_sigma=False"
        )
    if sde.signal_end < sde.T and predicts in ("noise", "score", "edm_ve", "edm_iddpm"):
        raise ConfigError(
            f"model.predicts={predicts!r} under {type(sde).__name__}, which ends in pure noise, where this prediction does not "
            "determine the image; set model.predicts=flow, velocity, x0 or edm"
        )
    check_noise_input(config, predicts)
    if config.training.continuous:
        if predicts == EDM:
            return EDMPreconditioning(sde, model.sigma_data, takes_logarithm(config))
        condition_interval = model.condition_interval and predicts == "flow"
        return AverageFlowPrediction(sde) if condition_interval else CONTINUOUS[predicts](sde)
    if predicts != sde.predicts:
        raise ConfigError(
            f"model.predicts={model.predicts!r} with training.continuous=False: a chain's network predicts "
            f"{sde.predicts}; set model.predicts='process', or training.continuous=True"
        )
    chain = sde.chain(model.num_scales)
    if predicts == "score":
        return DiscreteScorePrediction(sde, chain)
    return discrete_noise(sde, chain)


def check_noise_input(config: Any, predicts: str) -> None:
    """Refuse networks that would read sigma as a label, or take the logarithm of a number <= 0: scores that are wrong or NaN.

    Raises:
      ConfigError: the network is one of these; the message says what to set.
    """
    model, continuous = config.model, config.training.continuous
    logarithm = takes_logarithm(config)
    if continuous and divides_by_sigma(config) and not logarithm:
        raise ConfigError(
            f"model.scale_by_sigma=True with model.name={model.name!r} and training.continuous=True: the noise input is sigma, by which "
            "only ncsnpp with a Fourier embedding divides; others would read it as a label of their table of noise levels. Set "
            "model.embedding_type=fourier (ncsnpp), or model.scale_by_sigma=False"
        )
    if logarithm and not continuous:
        raise ConfigError(
            "model.embedding_type='fourier' with training.continuous=False: the embedding takes the logarithm of the noise input, which is a "
            "level index and can be 0; set model.embedding_type=positional, or training.continuous=True"
        )
    if logarithm and predicts in NOT_POSITIVE:
        raise ConfigError(
            f"model.embedding_type='fourier' with model.predicts={predicts!r}: the embedding takes the logarithm of the noise input, which is "
            f"{NOT_POSITIVE[predicts]}; set model.embedding_type=positional, or model.name=edm_unet, whose Fourier embedding takes no logarithm"
        )


def refuse_discrete(config: Any, sde: SDE, what: str) -> None:
    """Refuse `what` for a discretely trained VE network, whose labels are rounded: it has no score between its levels."""
    if not config.training.continuous and sde.predicts == "score":
        raise ConfigError(
            f"{what} needs the score at every time, but a network trained with training.continuous=False "
            "on the SMLD chain is defined only at its own noise levels; use --sampler pc, or train with continuous=True"
        )
