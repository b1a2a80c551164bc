"""Recognition of the objects in images of data/captions.py: their number, color and shape, and whether they match the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from score_sde.data.captions import COLOURS, NUMBERS, SHAPES, WORDS
from score_sde.quality.estimate import Estimate, share_of

TOUCHING = np.ones((3, 3), int)  # pixels that share a side or a corner belong to one object


class Seen(NamedTuple):
    """What an image shows; "" where objects differ from each other, or are not recognized."""

    number: int
    colour: str
    shape: str


def seen(image: np.ndarray) -> Seen:
    """Recognize the objects of an image (h, w, 3) with levels 0 and 1: connected components of pixels that are not black.

    The color is the only channel that is set in all pixels of the objects. An object is a square if it fills all corners of its bounding
    box, a disc if it fills none of them.
    """
    lit = image > 0
    objects, number = ndimage.label(lit.any(-1), TOUCHING)
    colours = {tuple(pixel) for pixel in lit[objects > 0]}
    pure = {tuple(row): name for row, name in zip(np.eye(3, dtype=bool), COLOURS, strict=True)}
    shapes = {
        shape_of(objects[box] == i + 1) for i, box in enumerate(ndimage.find_objects(objects))
    }
    colour = pure.get(next(iter(colours)), "") if len(colours) == 1 else ""
    return Seen(number, colour, shapes.pop() if len(shapes) == 1 else "")


def shape_of(filled: np.ndarray) -> str:
    """The shape of an object, given within its bounding box, bool (h, w)."""
    corners = filled[[0, 0, -1, -1], [0, -1, 0, -1]]
    if corners.all():
        return "square"
    return "" if corners.any() else "disc"


def said(text: Sequence[int]) -> Seen:
    """What a text, given as word indices, says; "" and 0 for what it does not mention."""
    words = {WORDS[word - 1] for word in text if word}
    number = next((i + 1 for i, word in enumerate(NUMBERS) if word in words), 0)
    colour = next((word for word in COLOURS if word in words), "")
    shape = next((one for one, more in SHAPES.items() if words & {one, more}), "")
    return Seen(number, colour, shape)


def agreement(images: np.ndarray, texts: np.ndarray) -> dict[str, Estimate]:
    """Fractions of images (n, h, w, 3) that match the number, color, shape, and all of these in their texts (n, l)."""
    right = np.array(
        [
            [not of or of == found for of, found in zip(said(text), seen(image), strict=True)]
            for image, text in zip(images, texts, strict=True)
        ],
        float,
    )
    shares = {f"text_{name}": share_of(right[:, i]) for i, name in enumerate(Seen._fields)}
    return {"text_right": share_of(right.min(axis=-1)), **shares}
