"""Batches of images, with the conditions of each and the index that determines its randomness."""

from __future__ import annotations

from typing import Any, NamedTuple

# () for none, else a dict by name (keys of `conditions.CONDITIONS`) of arrays whose first axis runs over the images.
Condition = Any


class Batch(NamedTuple):
    """A batch of images; all leaves share the first axis.

    images: (b, h, w, c), as stored.
    condition: () for none, else a dict by name, such as {"label": int32 (b,)}.
    index: int32 (b,), which determines all randomness of an image: its place in the global batch in training, its
        position in the split in evaluation.
    """

    images: Any
    condition: Condition
    index: Any


def gather(images: Any, condition: Condition, rows: Any, index: Any) -> Batch:
    """The batch of these rows of a whole split's arrays (n, ...): NumPy arrays, or JAX arrays within a compiled step."""
    return Batch(
        images[rows], {name: of[rows] for name, of in dict(condition).items()} or (), index
    )
