"""The score given a measurement, as a score model that wraps the unconditional one.

    grad ln p_t(x | y) = grad ln p_t(x) + grad ln p_t(y | x),    y = A x_0 + sigma_y n,

where the second term has a closed form only for Gaussians, their mixtures and finite sets; each method approximates it differently.
The measurement y of each image is bound together with the model's own condition: `score.given({"measured": y, "label": ...})`.
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
    """Base class; a subclass defines the score. `evaluations` counts those of the model, not products with its Jacobian."""

    measurement: Measurement
    sde: SDE = flax.struct.field(pytree_node=False)
    y: Any = None
    """The measurement of each image (b, *measured), bound by `given`."""

    @property
    def jacobian_products(self) -> int:
        """Vector-Jacobian products of the model per call; each costs about one evaluation."""
        return 0

    @property
    def condition(self) -> Any:
        of_model = condition_of(self.model)
        return of_model if self.y is None else {"measured": self.y, **(of_model or {})}

    def given(self, condition: Any) -> Self:
        """Bind {"measured": y} and the model's condition; without "measured", y is unbound.

        Raises:
          UserError: the shape of y is not that of the measurement.
        """
        rest = dict(condition) if condition else {}
        y = rest.pop("measured", None)
        if y is not None:
            check_shape("what was measured", y.shape[1:], self.measurement.linear.measured_shape)
        return dataclasses.replace(self, model=bind(self.model, rest or ()), y=y)

    def measured(self) -> Measured:
        """The bound y.

        Raises:
          ValueError: no measurement has been bound.
        """
        if self.y is None:
            raise ValueError("no measurement is bound: use score.given({'measured': y})")
        return self.y

    @abc.abstractmethod
    def __call__(self, x: Images, t: PerImage) -> Images: ...


@flax.struct.dataclass
class Unguided(PosteriorScore):
    """The model's own score, which carries y for samplers that use it themselves."""

    def __call__(self, x: Images, t: PerImage) -> Images:
        return self.model(x, t)


def jacobian_products_of(score: Any) -> int:
    """Vector-Jacobian products per evaluation of a score model, summed over the models that it wraps."""
    inner = getattr(score, "model", None)
    return getattr(score, "jacobian_products", 0) + (
        0 if inner is None else jacobian_products_of(inner)
    )
