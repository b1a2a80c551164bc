"""The score model as sampling asks it."""

from __future__ import annotations

from typing import Any

from score_sde.errors import ConfigError
from score_sde.generation.guided import check_guidance, with_guidance
from score_sde.generation.guides import NO_GUIDES, Guides
from score_sde.models.score import OneByOne
from score_sde.models.thresholding import DynamicThreshold, StaticThreshold, ThresholdedScore
from score_sde.options import choose
from score_sde.sde_lib import SDE
from score_sde.spaces import Space

# sampling.threshold: of the ends of the data's range and the quantile of "dynamic".
THRESHOLDS: dict[str, Any] = {
    "none": None,
    "static": lambda low, high, quantile: StaticThreshold(low, high),
    "dynamic": DynamicThreshold,
}


def check_sampled_score(config: Any, sde: SDE, space: Space) -> None:
    """Refuse a threshold without a range to keep to, and guidance that cannot be."""
    sampling = config.sampling
    threshold = choose("sampling.threshold", sampling.threshold, THRESHOLDS)
    if threshold is not None and space.range is None:
        raise ConfigError(
            f"sampling.threshold={sampling.threshold!r} with data.num_levels=0: such data have no range to keep to; "
            "set threshold='none'"
        )
    check_guidance(config, sde)


def sampled_score(
    config: Any, sde: SDE, space: Space, model: Any, guides: Guides = NO_GUIDES
) -> Any:
    """The score model as config.sampling asks it: one image at a time, guided, within the data's range.

    The threshold comes last, since guidance is what pushes images out of the range.
    """
    sampling = config.sampling
    if sampling.one_by_one:
        model, guides = OneByOne(model), guides.one_by_one()
    asked = with_guidance(config, sde, model, guides)
    threshold = THRESHOLDS[sampling.threshold]
    if threshold is None or space.range is None:
        return asked
    return ThresholdedScore(asked, sde, threshold(*space.range, sampling.threshold_quantile))
