"""Classifier-free guidance (Ho & Salimans 2022, Eq. 6): away from the score of no condition.

    s_w = (1 + w) s_c - w s_u = s_c + w (s_c - s_u)

s_c is the model's score given a condition, s_u that given none. The weight w is 0 for the conditional model, -1 for the
unconditional one; others call 1 + w the guidance scale. s_w is the score of p_c^(1+w) p_u^(-w) at each time, but these are not
the marginals of one process: guided samples are not of that law at time 0, and the ODE's and the SDE's differ.
"""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from score_sde.guidance.combinations import Combination, Extrapolated
from score_sde.models.score import ScoreWrapper, evaluations_of, score_and_variance
from score_sde.shapes import Images, PerImage


@flax.struct.dataclass
class ClassifierFree(ScoreWrapper):
    """The guided score of a model with conditions, which is asked for both scores in one batch of 2 b."""

    combine: Combination = flax.struct.field(pytree_node=False)

    @property
    def unconditional(self) -> Any:
        return self.model.unconditional

    @property
    def evaluations(self) -> int:
        return 2 * evaluations_of(self.model)

    def __call__(self, x: Images, t: PerImage) -> Images:
        return self.with_variance(x, t)[0]

    def with_variance(self, x: Images, t: PerImage) -> tuple[Images, Images | None]:
        """The guided score, and what the network says of the variance given the condition."""
        asked = (x, t, self.model.condition), (x, t, self.model.unconditional.condition)
        both = jax.tree.map(lambda *halves: jnp.concatenate(halves), *asked)
        said = score_and_variance(self.model.given(both[2]), *both[:2])
        (conditional, v), (unconditional, _) = (
            jax.tree.map(lambda leaf, half=half: jnp.split(leaf, 2)[half], said) for half in (0, 1)
        )
        return self.combine(x, t, conditional, unconditional), v


@flax.struct.dataclass
class ConditionIgnored(ScoreWrapper):
    """The unconditional score, whatever condition is bound: weight -1."""

    def __call__(self, x: Images, t: PerImage) -> Images:
        return self.model.unconditional(x, t)

    def with_variance(self, x: Images, t: PerImage) -> tuple[Images, Images | None]:
        return score_and_variance(self.model.unconditional, x, t)


def guided(model: Any, weight: float) -> Any:
    """The model with guidance of this weight, to which a condition may be bound before or after.

    Cost: two evaluations of the model for one; one, and its own bits, where the weight is 0 or -1.
    """
    if weight == 0:
        return model
    return ConditionIgnored(model) if weight == -1 else ClassifierFree(model, Extrapolated(weight))
