"""Arrays in a file by name, whose shapes are known before anything is read of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

FLOAT32 = np.dtype(np.float32)
# Every number of these is one of float32.
HALVES = (np.dtype(np.float16), np.dtype(jnp.bfloat16))


class Stored(NamedTuple):
    """One of them."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]
    """Reads it, in that dtype."""
