"""What a step or a measurement is given: images, what is known about each, and where their randomness comes from."""

from __future__ import annotations

from typing import Any, NamedTuple

# () for none, else a dict by name (the keys of `conditions.CONDITIONS`) of arrays whose first axis is the images'.
Condition = Any


class Batch(NamedTuple):
    """Some images; all leaves share the first axis.

    images: (b, h, w, c), as stored.
    condition: () for none, else by name, as {"label": int32 (b,)}.
    index: int32 (b,), from which all randomness of an image follows: its place in the global batch when training, its
        position in the split when evaluating.
    """

    images: Any
    condition: Condition
    index: Any


def gather(images: Any, condition: Condition, rows: Any, index: Any) -> Batch:
    """The rows of arrays over a whole split, (n, ...) each: of NumPy's, or of JAX's within a compiled step."""
    return Batch(
        images[rows], {name: of[rows] for name, of in dict(condition).items()} or (), index
    )
