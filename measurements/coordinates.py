"""A subset of the coordinates of an image in an orthonormal basis, such as pixels or frequencies."""

from __future__ import annotations

from typing import Any, Self

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from score_sde.errors import ConfigError
from score_sde.measurements.linear import Spectral
from score_sde.shapes import Array, Images, Measured


@flax.struct.dataclass
class Coordinates(Spectral):
    """The coordinates at the flat indices `kept`, an operator with singular values 1 and 0.

    In the basis of pixels this is inpainting. A subclass uses another basis by overriding `modes` and `image`.
    """

    kept: Integer[Array, "m"]
    shape: tuple[int, ...] = flax.struct.field(pytree_node=False)

    @classmethod
    def of_mask(cls, mask: Any, shape: tuple[int, ...]) -> Self:
        """The coordinates at which a mask, of the shape of an image or of its pixels, is True.

        Raises:
          ConfigError: a mask of another shape, one that is not boolean, or one without any True.
        """
        mask, shape = np.asarray(mask), tuple(shape)
        if mask.dtype != bool or not mask.any():
            raise ConfigError(
                f"a mask of {mask.dtype} with {np.count_nonzero(mask)} nonzero entries: expected True where an image is known, in at least "
                "one place"
            )
        if mask.shape not in (shape, shape[:-1]):
            raise ConfigError(
                f"a mask of shape {mask.shape} for images of shape {shape}: expected {shape}, or {shape[:-1]} for all "
                "channels of a pixel"
            )
        whole = np.broadcast_to(mask if mask.shape == shape else mask[..., None], shape)
        return cls(jnp.asarray(np.flatnonzero(whole)), shape)

    @property
    def singular_values(self) -> Float[Array, "*dims"]:
        return jnp.zeros(self.shape).ravel().at[self.kept].set(1.0).reshape(self.shape)

    def apply(self, x: Images) -> Measured:
        return self.modes(x).reshape(len(x), -1)[:, self.kept]

    def modes(self, x: Images) -> Images:
        return x

    def image(self, modes: Images) -> Images:
        return modes

    def measured_modes(self, y: Measured) -> Images:
        nothing = jnp.zeros((len(y), *self.shape), y.dtype)
        return nothing.reshape(len(y), -1).at[:, self.kept].set(y).reshape(nothing.shape)
