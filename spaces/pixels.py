"""Scaled pixels: integer levels or real numbers, mapped to [-1, 1] or [0, 1] (formulas: data/scaling.py)."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp

from score_sde.data.image_shape import image_shape
from score_sde.data.scaling import (
    bits_per_dim_offset,
    check_flag,
    check_num_levels,
    dequantize,
    scale,
    to_levels,
    to_levels_truncated,
    to_unit,
)
from score_sde.shapes import Keys, Pixels, Stored


@dataclasses.dataclass(frozen=True)
class PixelSpace:
    """Pixels with integer levels, or real-valued pixels for num_levels=None."""

    shape: tuple[int, int, int]  # (h, w, c)
    num_levels: int | None
    centered: bool  # x_0 lies in [-1, 1]; otherwise in [0, 1]
    uniform_dequantization: bool  # trained on (level + u) / L; otherwise on level / (L - 1)
    truncate: bool = False  # decode by floor((L - 1) y), as the published code does

    def __post_init__(self):
        check_num_levels(self.num_levels)
        for name in ("centered", "uniform_dequantization", "truncate"):
            check_flag(name, getattr(self, name))

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Build the space from config.data and config.sampling.truncate."""
        data = config.data
        return cls(
            shape=image_shape(data),
            num_levels=data.num_levels or None,
            centered=data.centered,
            uniform_dequantization=data.uniform_dequantization,
            truncate=config.sampling.truncate,
        )

    @property
    def range(self) -> tuple[float, float] | None:
        if self.num_levels is None:
            return None
        return (-1.0, 1.0) if self.centered else (0.0, 1.0)

    @property
    def bits_per_dim_offset(self) -> float:
        return bits_per_dim_offset(self.num_levels, self.centered)

    def encode(self, images: Stored, keys: Keys) -> Pixels:
        if not self.uniform_dequantization:
            return scale(to_unit(images, self.num_levels), self.centered)
        u = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)
        return self.encode_with(images, u)

    def encode_with(self, images: Stored, u: Pixels) -> Pixels:
        return scale(dequantize(images, u, self.num_levels), self.centered)

    def encode_middle(self, images: Stored) -> Pixels:
        if not self.uniform_dequantization:
            return scale(to_unit(images, self.num_levels), self.centered)
        return self.encode_with(images, jnp.full(images.shape, 0.5))

    def decode(self, x0: Pixels) -> Stored:
        if self.truncate and self.num_levels is not None:
            return to_levels_truncated(x0, self.num_levels, self.centered)
        return to_levels(x0, self.num_levels, self.centered, self.uniform_dequantization)
