"""The score of images given what was measured of them, as a score model around that of all images.

    grad ln p_t(x | y) = grad ln p_t(x) + grad ln p_t(y | x),    y = A x_0 + sigma_y n,

where the second part is known to nobody but for Gaussians and their like, and each method puts another in its place. What
is bound of each image is y, beside its model's condition: `score.given({"measured": y, "label": ...})`.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, Self

import flax.struct

from score_sde.measurements.measurement import Measurement
from score_sde.models.score import ScoreWrapper, bind, condition_of
from score_sde.sde_lib import SDE
from score_sde.shapes import Images, Measured, PerImage, check_shape


@flax.struct.dataclass
class PosteriorScore(ScoreWrapper, abc.ABC):
    """A subclass states the score. Its `evaluations` are those of the model, products with the Jacobian apart."""

    measurement: Measurement
    sde: SDE = flax.struct.field(pytree_node=False)
    y: Any = None
    """What was measured of each image, (b, *measured), bound by `given`."""

    @property
    def jacobian_products(self) -> int:
        """Products of a vector with the model's Jacobian that a call takes of an image; each costs about an evaluation."""
        return 0

    @property
    def condition(self) -> Any:
        of_model = condition_of(self.model)
        return of_model if self.y is None else {"measured": self.y, **(of_model or {})}

    def given(self, condition: Any) -> Self:
        """With {"measured": y} and the model's condition; without "measured" nothing is known of y any more.

        Raises:
          UserError: y of another shape than the measurement has.
        """
        rest = dict(condition) if condition else {}
        y = rest.pop("measured", None)
        if y is not None:
            check_shape("what was measured", y.shape[1:], self.measurement.linear.measured_shape)
        return dataclasses.replace(self, model=bind(self.model, rest or ()), y=y)

    def measured(self) -> Measured:
        """y.

        Raises:
          ValueError: nothing was bound.
        """
        if self.y is None:
            raise ValueError(
                "the score given a measurement was asked for without one: bind it by score.given({'measured': y})"
            )
        return self.y

    @abc.abstractmethod
    def __call__(self, x: Images, t: PerImage) -> Images: ...


@flax.struct.dataclass
class Unguided(PosteriorScore):
    """The model's own score, with y beside it for samplers that use it themselves."""

    def __call__(self, x: Images, t: PerImage) -> Images:
        return self.model(x, t)


def jacobian_products_of(score: Any) -> int:
    """Of the score model and all that it is made of; each product of an inner one is taken for each evaluation of it."""
    inner = getattr(score, "model", None)
    return getattr(score, "jacobian_products", 0) + (
        0 if inner is None else jacobian_products_of(inner)
    )
