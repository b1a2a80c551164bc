"""Array types with shapes (jaxtyping): a named dimension has the same size in all arguments and results of a call.

b: images; dims: their shape; h, w, c: rows, columns, channels; n: points or steps. The tests check every call.
"""

from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Float, Int, Integer, Key, Num, UInt32

from score_sde.errors import UserError

if TYPE_CHECKING:
    Array = jax.Array
else:  # NumPy arrays are accepted as well, but results are JAX arrays
    Array = jax.Array | np.ndarray | np.generic

Images = Float[Array, "b *dims"]
Measured = Float[Array, "b *measured"]  # measurements of images
Pixels = Float[Array, "b h w c"]
Stored = Num[Array, "b h w c"]  # images as stored in a dataset: integer levels or real numbers
PerImage = Float[Array, "b"]
Integers = Integer[Array, "b"]  # levels of a chain, classes, indices
Keys = Key[jax.Array, "b"] | UInt32[Array, "b 2"]  # typed keys, or raw ones
OneKey = Key[jax.Array, ""] | UInt32[Array, "2"]
Scalar = Float[Array, ""]
Index = Int[Array, ""] | int
Points = Float[Array, "n"]
Elements = Float[Array, "*t"]  # argument of an elementwise function
Broadcast = Float[Array, "*#t"]  # one of two arguments broadcast against each other


def check_shape(what: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Refuse an array whose shape differs from that of the images, against which it might be broadcast silently.

    Raises:
      UserError: another shape, as returned by a user's own network or score model.
    """
    if tuple(shape) != tuple(expected):
        raise UserError(
            f"{what} has the shape {tuple(shape)} for images of shape {tuple(expected)}; make the two the same, all axes of them"
        )
