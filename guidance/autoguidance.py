"""Autoguidance: guidance away from a worse model of the same data (Karras et al. 2024, "Guiding a Diffusion Model with a Bad Version of Itself").

    s_1 + w (s_1 - s_0)

where s_0 is the score of an earlier checkpoint, a smaller network or one trained for less time. It corrects errors that both models make and
the worse one makes more strongly. Unlike classifier-free guidance it needs no condition. With s_0 = s_1 it has no effect,
whatever w.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import flax.struct

from score_sde.guidance.combinations import Combination
from score_sde.models.score import (
    ChangedScore,
    ScoreWrapper,
    bind,
    evaluations_of,
    score_and_variance,
)
from score_sde.shapes import Images, PerImage


@flax.struct.dataclass
class Autoguided(ChangedScore):
    """The score of a model guided away from that of a worse one; a condition is bound to both."""

    worse: Any
    combine: Combination = flax.struct.field(pytree_node=False)

    @property
    def evaluations(self) -> int:
        return evaluations_of(self.model) + evaluations_of(self.worse)

    @property
    def unconditional(self) -> Any:
        return dataclasses.replace(
            self, model=self.model.unconditional, worse=self.worse.unconditional
        )

    def given(self, condition: Any) -> Self:
        return dataclasses.replace(
            self, model=bind(self.model, condition), worse=bind(self.worse, condition)
        )

    def changed(self, x: Images, t: PerImage, score: Images) -> Images:
        return self.combine(x, t, score, self.worse(x, t))


@flax.struct.dataclass
class Unconditional(ScoreWrapper):
    """An unconditional model where a conditional one is expected: it ignores any condition bound to it."""

    @property
    def condition(self) -> Any:
        return ()

    @property
    def unconditional(self) -> Self:
        return self

    def given(self, condition: Any) -> Self:
        return self

    def __call__(self, x: Images, t: PerImage) -> Images:
        return self.model(x, t)

    def with_variance(self, x: Images, t: PerImage) -> tuple[Images, Images | None]:
        return score_and_variance(self.model, x, t)
