"""Shapes in types (jaxtyping): a dimension of one name has one size in all arguments and results of a call.

b images, of any dims; h, w, c rows, columns and channels; n points or steps. Tests hold every call to them.
"""

from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Float, Int, Integer, Key, Num, UInt32

from score_sde.errors import UserError

if TYPE_CHECKING:
    Array = jax.Array
else:  # NumPy's serve as well, but results are JAX's
    Array = jax.Array | np.ndarray | np.generic

Images = Float[Array, "b *dims"]
Measured = Float[Array, "b *measured"]  # what a measurement gives of images
Pixels = Float[Array, "b h w c"]
Stored = Num[Array, "b h w c"]  # images as a dataset has them: levels, or real numbers
PerImage = Float[Array, "b"]
Integers = Integer[Array, "b"]  # levels of a chain, classes, places
Keys = Key[jax.Array, "b"] | UInt32[Array, "b 2"]  # typed ones, or raw
OneKey = Key[jax.Array, ""] | UInt32[Array, "2"]
Scalar = Float[Array, ""]
Index = Int[Array, ""] | int
Points = Float[Array, "n"]
Elements = Float[Array, "*t"]  # of an elementwise function
Broadcast = Float[Array, "*#t"]  # of one of two arguments


def check_shape(what: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Refuse an array that would be broadcast against the images which it is meant to match.

    Raises:
      UserError: another shape, of what a user's own network or score model gave.
    """
    if tuple(shape) != tuple(expected):
        raise UserError(
            f"{what} has the shape {tuple(shape)} for images of shape {tuple(expected)}; make the two the same, all axes of them"
        )
