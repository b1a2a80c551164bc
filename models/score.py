"""Score models: pytrees that are called, `score(x, t)`, and the other faces of the same quantity.

x is (b, ...), t is (b,), and the result is the gradient of the log-density of the marginal at t, in the
units of x. A network with its parameters is one score model; models/exact.py holds others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import flax.struct
import jax
from jax import Array

from score_sde.sde_lib import SDE, expand


class ScoreModel(Protocol):
    def __call__(self, x: Array, t: Array) -> Array: ...


@flax.struct.dataclass
class NetworkScore:
    """A network, its parameters and its parameterization.

    Only `params` are leaves, so a jitted function that takes the model retraces for another network, never
    for other weights.
    """

    params: Any
    apply: Callable[..., Any] = flax.struct.field(pytree_node=False)
    parameterization: Any = flax.struct.field(pytree_node=False)

    def __call__(self, x: Array, t: Array, dropout_keys: Array | None = None) -> Array:
        """The score at (x, t). `dropout_keys` (b,), one key for each image, is given in training only."""
        condition = self.parameterization.condition(t)
        inputs = self.parameterization.inputs(x, t)
        out = self.apply({"params": self.params}, inputs, condition, dropout_keys)
        return self.parameterization.score(out, x, t)

    def at_level(self, x: Array, level: Array, dropout_keys: Array | None = None) -> Array:
        """The score at a level (b,) of the discrete chain, for discretely trained networks."""
        condition = self.parameterization.condition_at_level(level)
        out = self.apply({"params": self.params}, x, condition, dropout_keys)
        return self.parameterization.score_at_level(out, level)


@flax.struct.dataclass
class OneByOne:
    """A score model asked for one image at a time, (1, ...), however many there are.

    A convolution adds its products in an order that depends on the width of the batch; here an image's score does
    not. It costs what a batch saves.
    """

    model: Any

    def __call__(self, x: Array, t: Array) -> Array:
        return jax.lax.map(lambda one: self.model(one[0][None], one[1][None])[0], (x, t))


def denoise(sde: SDE, score: Array, x: Array, t: Array) -> Array:
    """E[x_0 | x_t], by Tweedie's formula: (x + sigma^2 score) / alpha."""
    sigma, alpha = expand(sde.sigma(t), x), expand(sde.alpha(t), x)
    return (x + sigma * (sigma * score)) / alpha


def predicted_noise(sde: SDE, score: Array, t: Array) -> Array:
    """eps_hat = -sigma score, the expected noise given x_t = alpha x_0 + sigma eps."""
    return -expand(sde.sigma(t), score) * score
