"""Options of guidance: config.sampling.guidance."""

from __future__ import annotations

import dataclasses
import math

from score_sde.options import Range, Section, finite, fraction, not_negative, option

any_number = finite("a number, such as 1", lambda x: True)
positive_or_inf = Range("a positive number, or inf", lambda x: x > 0, (0, -1, math.nan))


@dataclasses.dataclass(frozen=True)
class GuidanceOptions(Section):
    """Guidance of samples; see guidance/combinations.py for the equations."""

    weight: float = option(
        0.0,
        "w of the guided score, (1 + w) times the conditional minus w times the unconditional one; 0: no guidance, -1: unconditional. "
        "Others call 1 + w the guidance scale",
        any_number,
    )
    log_snr_low: float = option(
        -math.inf,
        "guide only where ln(alpha^2/sigma^2) is between this ...",
        Range("a number, or -inf", lambda x: x < math.inf, (math.inf, math.nan)),
    )
    log_snr_high: float = option(
        math.inf,
        "... and this",
        Range("a number, or inf", lambda x: x > -math.inf, (-math.inf, math.nan)),
    )
    rescale: float = option(
        0.0,
        "phi, 0 to 1: how far the guided image's contrast is brought back to that without guidance",
        fraction,
    )
    eta: float = option(
        1.0,
        "APG: factor of the guidance's part parallel to the denoised image, which saturates it; 1: all of it",
        any_number,
    )
    norm: float = option(
        math.inf,
        "APG: largest length of the difference of the two denoised images, before the weight",
        positive_or_inf,
    )
    worse: str = option(
        "",
        "autoguidance: folder of the worse network to guide away from, in place of the unconditional score",
    )
    worse_step: int = option(
        0,
        "step of its checkpoint, 0: the newest; without a folder, of an earlier checkpoint of the network itself",
        not_negative,
    )
    classifier: str = option(
        "", "classifier guidance: folder of a classifier trained with training.task=classifier"
    )
    classifier_scale: float = option(
        1.0, "factor of the gradient of its log-probability; 1: by Bayes' rule", any_number
    )
    plus_plus: float = option(
        0.0, "CFG++ in place of a weight: its scale, up to 1, with sampler=ddim; 0: off", fraction
    )
