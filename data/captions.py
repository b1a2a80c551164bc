"""Images of one to three squares or discs of one colour on black, each with a caption such as "two red squares".

Each quarter of an image holds at most one object, which does not touch those of other quarters. Number, colour and shape can
therefore be recovered from an image without error (evaluation/captions.py).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from score_sde.data.builders import DatasetError
from score_sde.data.fingerprint import as_files
from score_sde.data.image_shape import image_shape
from score_sde.data.splits import Datasets, ImagesInMemory
from score_sde.data.text import numbers

NUMBERS = ("one", "two", "three")
COLOURS = ("red", "green", "blue")  # in the order of the channels
SHAPES = {"square": "squares", "disc": "discs"}
WORDS = (*NUMBERS, *COLOURS, *SHAPES, *SHAPES.values())
"""The vocabulary: ten words."""
CAPTIONS = tuple(
    " ".join((number, colour, one if number == NUMBERS[0] else more))
    for number, colour, (one, more) in itertools.product(NUMBERS, COLOURS, SHAPES.items())
)

NUM_TRAIN, NUM_TEST = 4096, 256
# A fixed seed, as in mixture.py.
DATA_SEED = 0
LEAST_SIDE = 16  # pixels, so that a disc differs from a square


def stencil(shape: str, side: int) -> np.ndarray:
    """The pixels of an object within its bounding box, bool (side, side)."""
    if shape == "square":
        return np.ones((side, side), bool)
    away = np.arange(side) - (side - 1) / 2
    return np.square(away)[:, None] + np.square(away) <= (side / 2) ** 2


def draw(rng: np.random.Generator, n: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw images (n, side, side, 3), levels 0 and 1, and the indices (n,) of their captions in CAPTIONS, uniformly."""
    quarter = side // 2
    captions = rng.integers(len(CAPTIONS), size=n)
    images = np.zeros((n, side, side, 3), np.uint8)
    for image, place in zip(images, captions, strict=True):
        number, colour, shape = np.unravel_index(place, (len(NUMBERS), len(COLOURS), len(SHAPES)))
        for corner in rng.choice(4, number + 1, replace=False):
            across = quarter // 2 + int(rng.integers(2))
            # The last row and column of a quarter stay empty.
            top, left = rng.integers(quarter - across, size=2) + quarter * np.array(
                divmod(corner, 2)
            )
            box = image[top : top + across, left : left + across, colour]
            box[stencil(tuple(SHAPES)[shape], across)] = 1
    return images, captions


def load_captions(data: Any) -> Datasets:
    """The images, with the condition `text`: the words of their captions.

    Args:
        data: config.data, with an even image_size of at least 16, and num_channels=3.

    Raises:
        DatasetError: config.data has another image shape.
    """
    height, width, channels = image_shape(data)
    if height != width or height % 2 or height < LEAST_SIDE or channels != len(COLOURS):
        raise DatasetError(
            f"data.name='captions' with images of {height}x{width} pixels and data.num_channels={channels}: expected square images with an "
            f"even side of {LEAST_SIDE} or more, and {len(COLOURS)} channels; set data.image_size={LEAST_SIDE}, "
            f"data.num_channels={len(COLOURS)}"
        )
    images, captions = draw(np.random.default_rng(DATA_SEED), NUM_TRAIN + NUM_TEST, height)
    text = numbers(CAPTIONS, WORDS, "the captions")[captions]
    train, test = (
        ImagesInMemory(images[rows], {"text": text[rows]})
        for rows in (slice(NUM_TRAIN), slice(NUM_TRAIN, None))
    )
    return Datasets(
        name="captions",
        train=train,
        test=test,
        num_levels=2,
        files=lambda: as_files(images=images, text=text),
    )
