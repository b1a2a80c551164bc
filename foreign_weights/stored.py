"""Arrays in a file, with shapes that are known before the arrays are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

FLOAT32 = np.dtype(np.float32)
# float32 represents every number of these types.
HALVES = (np.dtype(np.float16), np.dtype(jnp.bfloat16))


class Stored(NamedTuple):
    """An array in a file, not yet read."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]
    """Reads the array, in this dtype."""
