"""Guidance by the gradient of what the expected image is worth.

    score(x, t) + b grad r(E[x_0 | x_t]),

which stands for the score of images whose density is tilted by exp(b r(x_0)): that is score + grad ln E[exp(b r(x_0)) | x_t]. The two
are the same where r is linear and the data are Gaussian, since x_0 given x_t then has a variance that does not depend on x_t; elsewhere
the expectation has been drawn into the exponent, and what is sampled is not the tilted law.
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
"""Of images x_0 (b, ...), in the units of the process, as data are there; differentiable, of each image apart."""


@flax.struct.dataclass
class RewardGuided(ScoreWrapper):
    """Its `evaluations` are those of the model, the product with its Jacobian apart."""

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
    """The model, guided by `scale` times the gradient of the reward.

    Args:
      reward: a function, or a `jax.tree_util.Partial` of one and arrays that it needs, which then are arguments of what is compiled.

    Cost: an evaluation of the model and a product with its Jacobian, about an evaluation more.

    Raises:
      UserError: when it is called, a reward that is not one number for each image.
    """
    partial = jax.tree_util.Partial
    return RewardGuided(
        model, reward if isinstance(reward, partial) else partial(reward), sde, scale
    )
