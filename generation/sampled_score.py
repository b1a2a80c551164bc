"""The score model as used in sampling: guided, and kept within the data's range."""

from __future__ import annotations

from typing import Any

from score_sde.errors import ConfigError
from score_sde.generation.guided import check_guidance, is_guided, with_guidance
from score_sde.generation.guides import NO_GUIDES, Guides
from score_sde.models.consistency import no_score
from score_sde.models.one_by_one import OneByOne
from score_sde.models.thresholding import DynamicThreshold, StaticThreshold, ThresholdedScore
from score_sde.options import choose
from score_sde.samplers.predictors import LEARNED
from score_sde.sde_lib import SDE
from score_sde.spaces import Space

# sampling.threshold -> a function of the ends of the data's range and the quantile of "dynamic".
THRESHOLDS: dict[str, Any] = {
    "none": None,
    "static": lambda low, high, quantile: StaticThreshold(low, high),
    "dynamic": DynamicThreshold,
}


def check_sampled_score(config: Any, sde: SDE, space: Space) -> None:
    """Refuse a threshold for unbounded data, invalid guidance, and samplers or rounding that do not fit the network."""
    sampling = config.sampling
    check_rounding(config)
    threshold = choose("sampling.threshold", sampling.threshold, THRESHOLDS)
    if threshold is not None and space.range is None:
        raise ConfigError(
            f"sampling.threshold={sampling.threshold!r} with data.num_levels=0: such data have no range to keep within; "
            "set threshold='none'"
        )
    if (
        sampling.sampler == "pc"
        and sampling.pc.predictor in LEARNED
        and not config.model.learned_variance
    ):
        raise ConfigError(
            f"sampling.pc.predictor={sampling.pc.predictor!r} with model.learned_variance=False: the network does not predict the variance; "
            "use another predictor, such as ancestral_sampling, or a network trained with model.learned_variance=True"
        )
    check_few_steps(config)
    check_guidance(config, sde)


def check_rounding(config: Any) -> None:
    """Refuse sampling.truncate for a network trained with uniform noise within each level.

    This is checked here rather than where a space is built: what a folder records for its own samples does not matter when
    its network is a teacher, a guide or part of a cascade.
    """
    data = config.data
    if config.sampling.truncate and data.num_levels and data.uniform_dequantization:
        raise ConfigError(
            "sampling.truncate=True with data.uniform_dequantization=True: floor((L-1) y) of (v+u)/L is v or v-1, at random; it is "
            "the published rule for networks trained on v/(L-1): set truncate=False"
        )


FEW_STEPS = {"consistency": "consistency", "mean_flow": "mean_flow"}
"""Samplers that require a network trained for a certain task, with that task."""


def check_few_steps(config: Any) -> None:
    """Refuse a sampler for another task's networks, and options that change a score which few-step samplers do not use.

    Raises:
      ConfigError: what was given, and what to do.
    """
    sampling, task = config.sampling, config.training.task
    if task == "consistency" and sampling.sampler != "consistency":
        raise ConfigError(f"sampling.sampler={sampling.sampler!r} with {no_score()}")
    if sampling.sampler not in FEW_STEPS:
        return
    if task != FEW_STEPS[sampling.sampler]:
        raise ConfigError(
            f"sampling.sampler={sampling.sampler!r} with training.task={task!r}: it samples from a network trained with "
            f"training.task={FEW_STEPS[sampling.sampler]!r}; use another sampler, or such a network"
        )
    if task == "consistency" and sampling.eps != config.training.eps:
        raise ConfigError(
            f"sampling.eps={sampling.eps} with training.eps={config.training.eps}: a consistency model maps to the smallest time it was "
            f"trained on; set sampling.eps={config.training.eps}"
        )
    changed = {
        "one_by_one": sampling.one_by_one,
        "threshold": sampling.threshold != "none",
        "guidance": is_guided(sampling),
    }
    asked = [name for name, on in changed.items() if on]
    if asked:
        raise ConfigError(
            f"sampling.{asked[0]} with sampling.sampler={sampling.sampler!r}, which uses no score, so this option has no effect; remove it"
        )


def sampled_score(
    config: Any, sde: SDE, space: Space, model: Any, guides: Guides = NO_GUIDES
) -> Any:
    """The score model as set in config.sampling: one image at a time, guided, within the data's range.

    The threshold is applied last, since guidance is what pushes images out of the range.
    """
    return within_range(config, sde, space, guided_score(config, sde, model, guides))


def guided_score(config: Any, sde: SDE, model: Any, guides: Guides = NO_GUIDES) -> Any:
    """The score model of `sampled_score` before the threshold."""
    if config.sampling.one_by_one:
        model, guides = OneByOne(model), guides.one_by_one()
    return with_guidance(config, sde, model, guides)


def within_range(config: Any, sde: SDE, space: Space, score: Any) -> Any:
    """The score model with its denoised image kept in the data's range, if sampling.threshold is set."""
    sampling = config.sampling
    threshold = THRESHOLDS[sampling.threshold]
    if threshold is None or space.range is None:
        return score
    return ThresholdedScore(score, sde, threshold(*space.range, sampling.threshold_quantile))
