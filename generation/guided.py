"""The guidance that config.sampling.guidance configures, around a score model."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from score_sde.errors import ConfigError
from score_sde.generation.guides import (
    NO_GUIDES,
    Guides,
    check_guides,
    has_worse,
    sampled_classes,
)
from score_sde.guidance.autoguidance import Autoguided, Unconditional
from score_sde.guidance.classifier import classifier_guided
from score_sde.guidance.classifier_free import ClassifierFree, guided
from score_sde.guidance.combinations import (
    Combination,
    Extrapolated,
    PlusPlus,
    Projected,
    Rescaled,
    Within,
)
from score_sde.guidance.options import GuidanceOptions
from score_sde.models.networks import check_no_class, condition_names
from score_sde.models.one_by_one import OneByOne
from score_sde.samplers.configured import configure, needs_errors
from score_sde.sde_lib import SDE

NO_APG = {"eta": 1.0, "norm": math.inf}
NO_WORSE = {"worse": "", "worse_step": 0}
NO_INTERVAL = {"log_snr_low": -math.inf, "log_snr_high": math.inf}
NOTHING_MORE = {**NO_APG, **NO_INTERVAL, **NO_WORSE, "rescale": 0.0}
"""Options that modify guidance by a weight, with the values that have no effect."""


def asks_for_two(sampling: Any) -> bool:
    """Whether each evaluation of the guided score combines two scores."""
    guidance = sampling.guidance
    return bool(guidance.plus_plus or guidance.weight)


def scores_a_call(sampling: Any) -> int:
    """Network evaluations per call of the guided score: 1 without guidance, or if a weight of -1 alone drops the condition; otherwise 2."""
    guidance = sampling.guidance
    ignored = guidance.weight == -1 and not guidance.plus_plus
    if not asks_for_two(sampling) or (ignored and not different(guidance, NOTHING_MORE)):
        return 1
    return 2


def is_guided(sampling: Any) -> bool:
    """Whether any guidance is configured."""
    return asks_for_two(sampling) or bool(sampling.guidance.classifier)


def beside_weight(sampling: Any) -> dict[str, Any]:
    """The guidance fields that differ from their defaults, except the weight."""
    defaults = GuidanceOptions.defaults()
    return different(sampling.guidance, {k: v for k, v in defaults.items() if k != "weight"})


def check_guidance(config: Any, sde: SDE) -> None:
    """Refuse guidance of an unconditional model, guidance by a model that does not fit, and options without effect.

    Raises:
      ConfigError: what was given, and what to do.
    """
    guidance = config.sampling.guidance
    asked = different(guidance, NOTHING_MORE)
    check_guides(config, sde)
    if asks_for_two(config.sampling):
        check_two_scores(config, sde)
    elif asked:
        raise ConfigError(
            f"{in_words(asked)} with weight=0: there is no guidance for this to change; set sampling.guidance.weight, "
            "or remove it"
        )


def check_two_scores(config: Any, sde: SDE) -> None:
    """Refuse guidance by two scores if there is no second one, or no log-SNR at which it acts."""
    guidance = config.sampling.guidance
    if not guidance.log_snr_low < guidance.log_snr_high:
        raise ConfigError(
            f"{in_words(different(guidance, NO_INTERVAL))}: there is no log-SNR between them; set log_snr_low below log_snr_high"
        )
    if guidance.plus_plus:
        check_plus_plus(config.sampling)
    if has_worse(guidance):
        return
    what = in_words({name: guidance[name] for name in ("weight", "plus_plus") if guidance[name]})
    if not condition_names(config):
        raise ConfigError(
            f"{what} with a model that is not conditioned on classes: there is no condition to guide towards; set "
            "weight=0, train a network with model.num_classes, or set sampling.guidance.worse to the folder of a worse one"
        )
    check_no_class(config, what)


def different(guidance: Any, nothing: dict[str, Any]) -> dict[str, Any]:
    """The fields of `nothing` whose value in `guidance` is a different one."""
    return {name: guidance[name] for name, value in nothing.items() if guidance[name] != value}


def in_words(fields: dict[str, Any]) -> str:
    """Fields with their values, for a message."""
    return ", ".join(f"sampling.guidance.{name}={value}" for name, value in fields.items())


def check_plus_plus(sampling: Any) -> None:
    """Refuse CFG++ together with options that it replaces, or with samplers other than its own."""
    guidance = sampling.guidance
    beside = different(guidance, {"weight": 0.0, **NO_APG})
    if beside:
        raise ConfigError(
            f"sampling.guidance.plus_plus={guidance.plus_plus} with {in_words(beside)}: CFG++ has a weight of its own; set weight=0, "
            "eta=1, norm=inf, or plus_plus=0"
        )
    if guidance.rescale or sampling.threshold != "none":
        raise ConfigError(
            f"sampling.guidance.plus_plus={guidance.plus_plus} with guidance.rescale={guidance.rescale}, sampling.threshold="
            f"{sampling.threshold!r}: these options would act on the denoised image of the CFG++ score, which lies far beyond the image its "
            "step moves to; set rescale=0 and threshold='none', or plus_plus=0"
        )
    exponential = sampling.exponential
    if sampling.sampler != "ddim" or exponential.eta or exponential.steps != "grid":
        raise ConfigError(
            f"sampling.guidance.plus_plus={guidance.plus_plus} with sampling.sampler={sampling.sampler!r}, "
            f"exponential.eta={exponential.eta}, exponential.steps={exponential.steps!r}: CFG++ is a step of DDIM; use --sampler ddim "
            "with eta=0 and steps='grid'"
        )
    if needs_errors(sampling):
        raise ConfigError(
            "sampling.guidance.plus_plus with sampling.grid.name='dp': CFG++ must know the times before the denoising errors are known; use "
            "another grid"
        )


def build_combination(sampling: Any, sde: SDE) -> Combination:
    """Build the rule that combines the two scores into one."""
    guidance = sampling.guidance
    combine: Combination
    if guidance.plus_plus:
        with jax.ensure_compile_time_eval():  # concrete, even in a trace
            times = tuple(np.asarray(configure(sampling, sde).grid).tolist())
        combine = PlusPlus(sde, guidance.plus_plus, times)
    elif different(guidance, NO_APG):
        combine = Projected(sde, guidance.weight, guidance.eta, guidance.norm)
    else:
        combine = Extrapolated(guidance.weight)
    if guidance.rescale:
        combine = Rescaled(combine, sde, guidance.rescale)
    if different(guidance, NO_INTERVAL):
        combine = Within(combine, sde, guidance.log_snr_low, guidance.log_snr_high)
    return combine


def with_guidance(config: Any, sde: SDE, model: Any, guides: Guides = NO_GUIDES) -> Any:
    """The model with the configured guidance; that of a classifier is applied last.

    Cost: if two scores are combined, two evaluations of the model, or one of each of two models.
    """
    sampling = config.sampling
    model = led_away(sampling, sde, model, guides)
    if guides.classifier is None:
        return model
    conditioned = model if condition_names(config) else Unconditional(model)
    scale = sampling.guidance.classifier_scale
    by_class = classifier_guided(conditioned, guides.classifier, sampled_classes(config), scale)
    return OneByOne(by_class) if sampling.one_by_one else by_class


def led_away(sampling: Any, sde: SDE, model: Any, guides: Guides) -> Any:
    """The model's score guided away from a second one, if configured."""
    if not asks_for_two(sampling):
        return model
    if guides.worse is not None:
        return Autoguided(model, guides.worse, build_combination(sampling, sde))
    weight, combine = sampling.guidance.weight, build_combination(sampling, sde)
    plain = combine == Extrapolated(weight)
    return guided(model, weight) if plain else ClassifierFree(model, combine)
