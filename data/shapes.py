"""Segmentation of discs and squares on noise: the images are masks, the class of each pixel in bits, paired with pictures.

The class k of a pixel (background, disc or square) is written as the bits (k & 1, k >> 1), levels 0 and 1. With
data.uniform_dequantization=False the model sees -1 and 1, the analog bits of Chen et al. 2022, and the sign of a sample is its bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from score_sde.data.builders import DatasetError
from score_sde.data.fingerprint import as_files
from score_sde.data.image_shape import image_shape
from score_sde.data.splits import Datasets, ImagesInMemory

NUM_TRAIN, NUM_TEST = 4096, 256
# A fixed seed, as in mixture.py.
DATA_SEED = 0
CLASSES = ("background", "disc", "square")
BITS = 2
SHADE, NOISE_MEAN, NOISE_STD = (
    220,
    90.0,
    25.0,
)  # on 256 levels; of both shapes, and of the background
LEAST, MOST = 1 / 7, 1 / 4  # range of radii and half sides, relative to the image's side


def to_bits(classes: np.ndarray) -> np.ndarray:
    """Convert classes (...) to bits (..., BITS), uint8, lowest bit first."""
    return (classes[..., None] >> np.arange(BITS) & 1).astype(np.uint8)


def to_classes(bits: np.ndarray) -> np.ndarray:
    """The inverse of `to_bits`; if both bits are set the result is 3, which is not a class."""
    return (bits.astype(np.int64) << np.arange(BITS)).sum(axis=-1)


def draw(rng: np.random.Generator, n: int, sides: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw classes (n, h, w) of a disc and a square on top, at random positions, and their pictures (n, h, w, 1), uint8."""
    classes = np.zeros((n, *sides), np.int64)
    classes[discs(rng, n, sides)] = 1
    classes[squares(rng, n, sides)] = 2
    noise = rng.normal(NOISE_MEAN, NOISE_STD, classes.shape).round().clip(0, 255)
    return classes, np.where(classes > 0, SHADE, noise).astype(np.uint8)[..., None]


def discs(rng: np.random.Generator, n: int, sides: tuple[int, int]) -> np.ndarray:
    """Masks of n random discs, bool (n, h, w)."""
    away, radius = placed(rng, n, sides)
    return np.square(away).sum(axis=0) <= np.square(radius)


def squares(rng: np.random.Generator, n: int, sides: tuple[int, int]) -> np.ndarray:
    """Masks of n random squares, bool (n, h, w)."""
    away, half = placed(rng, n, sides)
    return np.abs(away).max(axis=0) <= half


def placed(
    rng: np.random.Generator, n: int, sides: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Draw n shapes within the image: offsets (2, n, h, w) of pixels from their centres, and radii or half sides (n, 1, 1)."""
    rows, columns = (axis[None] for axis in np.indices(sides))
    least, most = (share * min(sides) for share in (LEAST, MOST))
    radius = rng.uniform(least, most, n)
    middles = [radius + (side - 1 - 2 * radius) * rng.random(n) for side in sides]
    away = [
        axis - middle[:, None, None] for axis, middle in zip((rows, columns), middles, strict=True)
    ]
    return np.stack(away), radius[:, None, None]


def load_shapes(data: Any) -> Datasets:
    """The masks as bits, with the condition `paired`: the pictures.

    Args:
        data: config.data, with image_size and num_channels=2.

    Raises:
        DatasetError: the number of channels is not BITS.
    """
    *sides, channels = image_shape(data)
    if channels != BITS:
        raise DatasetError(
            f"data.name='shapes' with data.num_channels={channels}: three classes are stored as {BITS} bits; set data.num_channels={BITS}"
        )
    classes, pictures = draw(
        np.random.default_rng(DATA_SEED), NUM_TRAIN + NUM_TEST, (sides[0], sides[1])
    )
    bits = to_bits(classes)
    train, test = (
        ImagesInMemory(bits[rows], {"paired": pictures[rows]})
        for rows in (slice(NUM_TRAIN), slice(NUM_TRAIN, None))
    )
    return Datasets(
        name="shapes",
        train=train,
        test=test,
        num_levels=2,
        files=lambda: as_files(bits=bits, pictures=pictures),
    )
