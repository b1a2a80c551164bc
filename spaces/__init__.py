"""Spaces: what stored images are to the model, and what the model's arrays are as images.

    pixels.py    scaled pixels, with the noise within a level

A space owns the shape, the way there and back, and what a density there says of a stored image. Samplers, losses and
likelihoods work on its arrays x_0 and never look at how they came about.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

from score_sde.shapes import Images, Keys, Pixels, Stored
from score_sde.spaces.pixels import PixelSpace

__all__ = ["PixelSpace", "Space", "build_space", "trained_space"]


class Space(Protocol):
    """Between stored images (b, h, w, c) and the model's arrays x_0 (b, ...)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one x_0."""

    @property
    def num_levels(self) -> int | None:
        """Levels of a stored image; None for real numbers."""

    @property
    def range(self) -> tuple[float, float] | None:
        """The least and the largest value of an x_0, if it has such."""

    @property
    def bits_per_dim_offset(self) -> float | None:
        """What turns -log2 of a density of x_0, a dimension, into the cost of the stored image; None: nothing does."""

    def encode(self, images: Stored, keys: Keys) -> Images:
        """x_0 as the model is trained on; keys draw what is random about it."""

    def encode_with(self, images: Stored, u: Pixels) -> Images:
        """x_0 of which the place within each level is given, u in (0, 1)."""

    def encode_middle(self, images: Stored) -> Images:
        """The x_0 that stands for the images best: nothing is random."""

    def decode(self, x0: Images) -> Stored:
        """The stored images that x_0 stands for."""


def build_space(config: Any) -> Space:
    """The space that the config's model works in."""
    return PixelSpace.from_config(config)


def trained_space(config: Any) -> Space:
    """What a network of the config takes for an image, in which the rounding of samples (sampling.truncate) has no part."""
    return dataclasses.replace(PixelSpace.from_config(config), truncate=False)
