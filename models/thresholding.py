"""Thresholding: a wrapper of any score model that brings its denoised image back into the range of the data.

Guidance and large steps push the denoised image D = (x + sigma^2 score) / alpha out of the range of the data. The
wrapper moves it back to D', and returns the score whose denoised image is D',

    score' = score + (alpha / sigma^2)(D' - D),

so it works with every sampler and every guidance, and costs no further evaluation of the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import flax.struct
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.models.score import ChangedScore, denoise, score_moved_by
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Images, PerImage


@dataclasses.dataclass(frozen=True)
class StaticThreshold:
    """Clips every pixel to [low, high]: [-1, 1] for centred data, [0, 1] otherwise.

    Raises:
      ConfigError: the range is empty.
    """

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self):
        if not self.low < self.high:
            raise ConfigError(f"threshold from {self.low} to {self.high}: expected low < high")

    def __call__(self, denoised: Images) -> Images:
        return jnp.clip(denoised, self.low, self.high)


@dataclasses.dataclass(frozen=True)
class DynamicThreshold(StaticThreshold):
    """Clips each image at its own quantile and shrinks it into the range (Saharia et al. 2022, Sec. 2.3).

    With the centre c and half-width h of the range (0 and 1 for centred data, 0.5 and 0.5 for [0, 1]), and
    r = max(h, the quantile of |D - c| over the image's pixels and channels),

        D' = c + (h / r) clip(D - c, -r, r).

    Lu et al. 2022b, Sec. 3.2, use quantile 0.995.

    Raises:
      ConfigError: the range is empty, or the quantile is outside (0, 1].
    """

    quantile: float = 0.995

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.quantile <= 1:
            raise ConfigError(
                f"threshold quantile={self.quantile}: expected a number in (0, 1], such as 0.995"
            )

    def __call__(self, denoised: Images) -> Images:
        centre, half = 0.5 * (self.high + self.low), 0.5 * (self.high - self.low)
        deviation = denoised - centre
        sizes = jnp.abs(deviation).reshape(denoised.shape[0], -1)
        r = expand(jnp.maximum(half, jnp.quantile(sizes, self.quantile, axis=1)), denoised)
        return centre + half / r * jnp.clip(deviation, -r, r)


@flax.struct.dataclass
class ThresholdedScore(ChangedScore):
    """A score model whose denoised image is brought back into range by `threshold`: D -> D'."""

    sde: SDE = flax.struct.field(pytree_node=False)
    threshold: Callable[[Images], Images] = flax.struct.field(pytree_node=False)

    def changed(self, x: Images, t: PerImage, score: Images) -> Images:
        denoised = denoise(self.sde, score, x, t)
        return score_moved_by(self.sde, score, t, self.threshold(denoised) - denoised)
