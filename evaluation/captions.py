"""What is to be seen on images of data/captions.py, counted: number, colour and shape of the objects, and whether the text says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from score_sde.data.captions import COLOURS, NUMBERS, SHAPES, WORDS
from score_sde.quality.estimate import Estimate, mean_of

TOUCHING = np.ones((3, 3), int)  # pixels that share a side or a corner are of one object


class Seen(NamedTuple):
    """Of one image; "" where objects differ, or are of none of these."""

    number: int
    colour: str
    shape: str


def seen(image: np.ndarray) -> Seen:
    """The objects of an image (h, w, 3) of levels 0 and 1, pixels that are not black and touch each other.

    A colour is one channel alone in all pixels of the objects. An object is a square if it fills the corners of the box around it, a
    disc if it fills none of them.
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
    """Of an object in the box around it, bool (h, w)."""
    corners = filled[[0, 0, -1, -1], [0, -1, 0, -1]]
    if corners.all():
        return "square"
    return "" if corners.any() else "disc"


def said(text: Sequence[int]) -> Seen:
    """What a text says, of words as numbers; "" and 0 of what it does not say."""
    words = {WORDS[word - 1] for word in text if word}
    number = next((i + 1 for i, word in enumerate(NUMBERS) if word in words), 0)
    colour = next((word for word in COLOURS if word in words), "")
    shape = next((one for one, more in SHAPES.items() if words & {one, more}), "")
    return Seen(number, colour, shape)


def agreement(images: np.ndarray, texts: np.ndarray) -> dict[str, Estimate]:
    """The shares of images (n, h, w, 3) that have the number, the colour, the shape and all that their texts (n, l) say."""
    right = np.array(
        [
            [not of or of == found for of, found in zip(said(text), seen(image), strict=True)]
            for image, text in zip(images, texts, strict=True)
        ],
        float,
    )
    shares = {f"text_{name}": mean_of(right[:, i]) for i, name in enumerate(Seen._fields)}
    return {"text_right": mean_of(right.min(axis=-1)), **shares}
