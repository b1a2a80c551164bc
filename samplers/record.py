"""What every sampler gives back."""

from __future__ import annotations

from typing import NamedTuple

from jax import Array


class Samples(NamedTuple):
    """x (b, ...) in the units of the process; nfe, the evaluations of the score model an image took."""

    x: Array
    nfe: Array | int
    path: Array | None = None
    """States at each time of the grid, (steps + 1, b, ...), the start first; only when asked for."""
    success: Array | bool = True
    """False when an adaptive solver gave up: x is then meaningless."""
