"""Autoguidance: away from a worse model of the same images (Karras et al. 2024, "Guiding a Diffusion Model with a Bad Version of Itself").

    s_1 + w (s_1 - s_0)

with s_0 of an earlier checkpoint, a smaller network or one trained for less time. What both get wrong alike, the worse more so, is
undone; unlike guidance away from no class it needs no condition. Guided by itself a model is itself, whatever w.
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
    """The score of a model, led away from that of a worse one, to which the same condition is bound."""

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
    """An unconditional model among conditional ones: a condition that is bound does not reach it."""

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
