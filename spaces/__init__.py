"""Spaces, which map stored images to the arrays that a model works on, and back.

    pixels.py    scaled pixels, with dequantization noise

A space defines the shape of these arrays x_0, the conversion in both directions, and how a density of x_0 translates to
stored images. Samplers, losses and likelihoods work on x_0 and do not depend on how it is made.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

from score_sde.shapes import Images, Keys, Pixels, Stored
from score_sde.spaces.pixels import PixelSpace

__all__ = ["PixelSpace", "Space", "build_space", "trained_space"]


class Space(Protocol):
    """Mapping between stored images (b, h, w, c) and the model's arrays x_0 (b, ...)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one x_0, without the batch axis."""

    @property
    def num_levels(self) -> int | None:
        """Number of levels of a stored image; None for real numbers."""

    @property
    def range(self) -> tuple[float, float] | None:
        """Smallest and largest value of x_0; None if it is unbounded."""

    @property
    def bits_per_dim_offset(self) -> float | None:
        """What to add to -log2 p(x_0) per dimension to get the bits/dim of the stored image; None if that is impossible."""

    def encode(self, images: Stored, keys: Keys) -> Images:
        """Encode images as the model is trained on them; `keys`, one per image, draw the dequantization noise."""

    def encode_with(self, images: Stored, u: Pixels) -> Images:
        """Encode images with the given dequantization noise u in (0, 1), the position within each level."""

    def encode_middle(self, images: Stored) -> Images:
        """Encode images without randomness, at the middle of each level where `encode` adds noise."""

    def decode(self, x0: Images) -> Stored:
        """Decode x_0 to stored images."""


def build_space(config: Any) -> Space:
    """Build the space that the configured model works in."""
    return PixelSpace.from_config(config)


def trained_space(config: Any) -> Space:
    """Build the space that the configured network is trained in, which does not depend on sampling.truncate."""
    return dataclasses.replace(PixelSpace.from_config(config), truncate=False)
