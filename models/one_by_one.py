"""A score model evaluated on one image at a time, so that an image's score has the same bits in any batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax

from score_sde.models.score import ScoreWrapper, Velocity, bind, score_and_variance, velocity_of
from score_sde.shapes import Images, PerImage


@flax.struct.dataclass
class OneByOne(ScoreWrapper):
    """A score model evaluated on one image at a time, (1, ...), whatever the batch size.

    A convolution adds its products in an order that depends on the batch size, so the score of an image in a batch does
    too; here it does not. The price is the speed that batching gains.
    """

    def __call__(self, x: Images, t: PerImage) -> Images:
        return self._ask(lambda model: model, x, t)

    @property
    def velocity(self) -> Velocity | None:
        return (
            None if velocity_of(self.model) is None else functools.partial(self._ask, velocity_of)
        )

    def with_variance(self, x: Images, t: PerImage) -> tuple[Images, Images | None]:
        return self._ask(lambda model: functools.partial(score_and_variance, model), x, t)

    def _ask(self, of: Callable[[Any], Any], x: Images, t: PerImage) -> Any:
        def one(image: Any) -> Any:
            x, t, condition = jax.tree.map(lambda leaf: leaf[None], image)
            return jax.tree.map(lambda leaf: leaf[0], of(bind(self.model, condition))(x, t))

        return jax.lax.map(one, (x, t, self.condition))
