"""Guidance by the gradient of a reward of the denoised image.

    score(x, t) + b grad r(E[x_0 | x_t]),

an approximation of the score of the data density tilted by exp(b r(x_0)), which is score + grad ln E[exp(b r(x_0)) | x_t]. The two are
equal for a linear r and Gaussian data, since the variance of x_0 given x_t then does not depend on x_t. Otherwise the expectation has been
moved into the exponent, and samples do not follow the tilted density.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from score_sde.models.score import ScoreModel, ScoreWrapper, denoise
from score_sde.sde_lib import SDE
from score_sde.shapes import Images, PerImage, check_shape

Reward = Callable[[Images], PerImage]
"""A differentiable function of images x_0 (b, ...), in the scaled units of the data, that returns one reward per image (b,)."""


@flax.struct.dataclass
class RewardGuided(ScoreWrapper):
    """A score model guided by a reward. `evaluations` counts those of the model, not the product with its Jacobian."""

    reward: Reward
    sde: SDE = flax.struct.field(pytree_node=False)
    scale: float = flax.struct.field(pytree_node=False)

    jacobian_products = 1

    def __call__(self, x: Images, t: PerImage) -> Images:
        def total(x: Images) -> tuple[Any, Images]:
            score = self.model(x, t)
            rewards = self.reward(denoise(self.sde, score, x, t))
            check_shape("the rewards", rewards.shape, (len(x),))
            return jnp.sum(rewards), score

        gradient, score = jax.grad(total, has_aux=True)(x)
        return score + self.scale * gradient


def reward_guided(model: ScoreModel, reward: Reward, sde: SDE, scale: float = 1.0) -> RewardGuided:
    """Guide the model by `scale` times the gradient of the reward.

    Args:
      reward: a function, or a `jax.tree_util.Partial` of a function and the arrays that it needs, which become arguments of the compiled
        program instead of constants.

    Cost: one evaluation of the model and one vector-Jacobian product, about one more evaluation.

    Raises:
      UserError: on a call, if the reward does not return one number per image.
    """
    partial = jax.tree_util.Partial
    return RewardGuided(
        model, reward if isinstance(reward, partial) else partial(reward), sde, scale
    )
