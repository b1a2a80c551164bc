"""config.sampling.guidance."""

from __future__ import annotations

import dataclasses
import math

from score_sde.options import Range, Section, finite, fraction, not_negative, option

any_number = finite("a number, such as 1", lambda x: True)
positive_or_inf = Range("a positive number, or inf", lambda x: x > 0, (0, -1, math.nan))


@dataclasses.dataclass(frozen=True)
class GuidanceOptions(Section):
    """guidance/combinations.py has the equations."""

    weight: float = option(
        0.0,
        "w of (1 + w) times the score of the condition less w times that of none; 0: no guidance, -1: no condition. Others call "
        "1 + w the guidance scale",
        any_number,
    )
    log_snr_low: float = option(
        -math.inf,
        "guide where ln(alpha^2/sigma^2) is from this ...",
        Range("a number, or -inf", lambda x: x < math.inf, (math.inf, math.nan)),
    )
    log_snr_high: float = option(
        math.inf,
        "... to this, and nowhere else",
        Range("a number, or inf", lambda x: x > -math.inf, (-math.inf, math.nan)),
    )
    rescale: float = option(
        0.0,
        "how much of the contrast of the guided image goes back to what it is without guidance: phi, 0 to 1",
        fraction,
    )
    eta: float = option(
        1.0,
        "APG: share of the guidance along the expected image itself, which saturates it; 1: all of it",
        any_number,
    )
    norm: float = option(
        math.inf,
        "APG: largest length of the difference of the two expected images, before the weight",
        positive_or_inf,
    )
    worse: str = option(
        "",
        "guide away from the network in this folder, in place of the score of no class: autoguidance",
    )
    worse_step: int = option(
        0,
        "the step of its checkpoint, 0: the newest; without a folder of an earlier checkpoint of the network itself",
        not_negative,
    )
    classifier: str = option(
        "", "guide by the classifier in this folder, trained by training.task=classifier"
    )
    classifier_scale: float = option(
        1.0, "times the gradient of its log-probability; 1: as the score has it", any_number
    )
    plus_plus: float = option(
        0.0, "CFG++ in place of a weight: its scale, up to 1, with sampler=ddim; 0: no", fraction
    )
