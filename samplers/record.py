"""What every sampler gives back."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float

from score_sde.shapes import Array, Images


class Samples(NamedTuple):
    """x in the units of the process; nfe, the evaluations of the score model an image took."""

    x: Images
    nfe: Array | int
    path: Float[Array, "n b *dims"] | None = None
    """States at each time of the grid, the start first; only when asked for."""
    success: Array | bool = True
    """False when an adaptive solver gave up: x is then meaningless."""
