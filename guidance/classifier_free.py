"""Classifier-free guidance (Ho & Salimans 2022, Eq. 6): away from the unconditional score.

    s_w = (1 + w) s_c - w s_u = s_c + w (s_c - s_u)

s_c is the conditional score and s_u the unconditional one. w = 0 gives the conditional model and w = -1 the unconditional one;
other papers call 1 + w the guidance scale. s_w is the score of p_c^(1+w) p_u^(-w) at each time, but these densities are not the
marginals of one process: guided samples do not follow that density at time 0, and those of the ODE and the SDE differ.
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
    """The guided score of a conditional model, which evaluates both scores in one batch of size 2 b."""

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
        """The guided score, and the network's variance output given the condition."""
        asked = (x, t, self.model.condition), (x, t, self.model.unconditional.condition)
        both = jax.tree.map(lambda *halves: jnp.concatenate(halves), *asked)
        said = score_and_variance(self.model.given(both[2]), *both[:2])
        (conditional, v), (unconditional, _) = (
            jax.tree.map(lambda leaf, half=half: jnp.split(leaf, 2)[half], said) for half in (0, 1)
        )
        return self.combine(x, t, conditional, unconditional), v


@flax.struct.dataclass
class ConditionIgnored(ScoreWrapper):
    """The unconditional score, whatever condition is bound: guidance weight -1."""

    def __call__(self, x: Images, t: PerImage) -> Images:
        return self.model.unconditional(x, t)

    def with_variance(self, x: Images, t: PerImage) -> tuple[Images, Images | None]:
        return score_and_variance(self.model.unconditional, x, t)


def guided(model: Any, weight: float) -> Any:
    """Apply classifier-free guidance of this weight; a condition may be bound before or after.

    Cost: two evaluations of the model per evaluation. With weight 0 or -1 one, and the result is bit for bit that of the model.
    """
    if weight == 0:
        return model
    return ConditionIgnored(model) if weight == -1 else ClassifierFree(model, Extrapolated(weight))
