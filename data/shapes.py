"""Discs and squares on noise, to be segmented: the images are masks, as bits of the class of each pixel, and the picture is beside each.

A class k of three, background, disc and square, is the bits (k & 1, k >> 1), levels 0 and 1: with data.uniform_dequantization=False the
model sees -1 and 1, the analog bits of Chen et al. 2022, and a sample's sign is its bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from score_sde.data.builders import DatasetError
from score_sde.data.fingerprint import as_files
from score_sde.data.image_shape import image_shape
from score_sde.data.splits import Datasets, ImagesInMemory

NUM_TRAIN, NUM_TEST = 4096, 256
# Fixed, as in mixture.py.
DATA_SEED = 0
CLASSES = ("background", "disc", "square")
BITS = 2
SHADE, NOISE_MEAN, NOISE_STD = (
    220,
    90.0,
    25.0,
)  # of 8 bits; of both shapes, and of what is behind them
LEAST, MOST = 1 / 7, 1 / 4  # radii and half sides, of the image's side


def to_bits(classes: np.ndarray) -> np.ndarray:
    """Classes (...) -> bits (..., BITS), uint8, the lowest first."""
    return (classes[..., None] >> np.arange(BITS) & 1).astype(np.uint8)


def to_classes(bits: np.ndarray) -> np.ndarray:
    """The inverse; all bits set are no class, 3."""
    return (bits.astype(np.int64) << np.arange(BITS)).sum(axis=-1)


def draw(rng: np.random.Generator, n: int, sides: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Classes (n, h, w) of a disc and a square over it, anywhere within the image, and their pictures (n, h, w, 1), uint8."""
    classes = np.zeros((n, *sides), np.int64)
    classes[discs(rng, n, sides)] = 1
    classes[squares(rng, n, sides)] = 2
    noise = rng.normal(NOISE_MEAN, NOISE_STD, classes.shape).round().clip(0, 255)
    return classes, np.where(classes > 0, SHADE, noise).astype(np.uint8)[..., None]


def discs(rng: np.random.Generator, n: int, sides: tuple[int, int]) -> np.ndarray:
    """Where n discs are, (n, h, w)."""
    away, radius = placed(rng, n, sides)
    return np.square(away).sum(axis=0) <= np.square(radius)


def squares(rng: np.random.Generator, n: int, sides: tuple[int, int]) -> np.ndarray:
    """Where n squares are, (n, h, w)."""
    away, half = placed(rng, n, sides)
    return np.abs(away).max(axis=0) <= half


def placed(
    rng: np.random.Generator, n: int, sides: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Of n shapes anywhere within the image: how far each pixel is from the middle, (2, n, h, w), and radius or half side, (n, 1, 1)."""
    rows, columns = (axis[None] for axis in np.indices(sides))
    least, most = (share * min(sides) for share in (LEAST, MOST))
    radius = rng.uniform(least, most, n)
    middles = [radius + (side - 1 - 2 * radius) * rng.random(n) for side in sides]
    away = [
        axis - middle[:, None, None] for axis, middle in zip((rows, columns), middles, strict=True)
    ]
    return np.stack(away), radius[:, None, None]


def load_shapes(data: Any) -> Datasets:
    """Masks as bits, with `paired` the pictures.

    Args:
        data: config.data, with image_size and num_channels=2.

    Raises:
        DatasetError: another number of channels than of bits.
    """
    *sides, channels = image_shape(data)
    if channels != BITS:
        raise DatasetError(
            f"data.name='shapes' with data.num_channels={channels}: three classes are {BITS} bits; set data.num_channels={BITS}"
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
