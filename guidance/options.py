"""config.sampling.guidance."""

from __future__ import annotations

import dataclasses

from score_sde.options import Section, finite, option


@dataclasses.dataclass(frozen=True)
class GuidanceOptions(Section):
    weight: float = option(
        0.0,
        "w of (1 + w) times the score of the condition less w times that of none; 0: no guidance, -1: no condition. Others call "
        "1 + w the guidance scale",
        finite("a number, such as 1", lambda x: True),
    )
