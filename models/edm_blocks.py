"""The block of EDM's U-Nets (Karras et al. 2022, App. F), in one style for its DDPM++ and NCSN++ and another for its ADM."""

from __future__ import annotations

import dataclasses
import math

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float

from score_sde.models import layers, resample
from score_sde.models.adm_blocks import OF_FAN_IN, conv, dense
from score_sde.models.attention import attended
from score_sde.models.group_norm import GroupNorm
from score_sde.shapes import Array, Keys


@dataclasses.dataclass(frozen=True)
class Style:
    """What distinguishes the blocks of EDM's two U-Nets."""

    adaptive_scale: bool
    """The noise level scales and shifts the second norm; False: it is added before that norm."""
    skip_scale: float
    """Factor of every residual sum."""
    epsilon: float
    """Epsilon of every norm."""
    converts_when_resampling: bool
    """Shortcuts that change the resolution have a 1x1 convolution even if the number of channels does not change."""
    first: nn.initializers.Initializer
    of_queries: nn.initializers.Initializer
    last: nn.initializers.Initializer
    """For the last layer of each residual branch and of the network: zero, or 1e-5 times the scale of the others."""


SONG = Style(
    False,
    math.sqrt(0.5),
    1e-6,
    True,
    layers.default_init(),
    layers.default_init(0.2),
    layers.default_init(0.0),
)
DHARIWAL = Style(True, 1.0, 1e-5, False, OF_FAN_IN, OF_FAN_IN, nn.initializers.zeros)


def norm(channels: int, name: str, epsilon: float, dtype: DTypeLike | None = None) -> GroupNorm:
    """A group norm with EDM's number of groups for these channels."""
    return GroupNorm(layers.num_groups(channels), dtype, epsilon, name=name)


def resampled(x: layers.Image, direction: str | None, taps: tuple[int, ...]) -> layers.Other:
    """Halve ("down") or double ("up") the resolution with the filter `taps`, or return x itself (None)."""
    if direction is None:
        return x
    if direction == "down":
        return resample.downsample_2d(x, taps)
    return resample.upsample_2d(x, taps)


class EDMBlock(nn.Module):
    """Residual block with the noise level between its convolutions, followed by attention if `heads` is not 0.

        h = conv(act(norm(conv(act(norm(x))) and the level))),    y = (h + shortcut(x)) r,    then y = (attention(y) + y) r

    r is style.skip_scale. The resolution changes before the first convolution, after norm and activation, and before the
    shortcut's convolution.
    """

    features: int
    style: Style
    taps: tuple[int, ...] = (1, 1)
    resampling: str | None = None
    heads: int = 0
    """Attention heads; 0: no attention."""
    dropout: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, x: layers.Image, level: layers.Features, keys: Keys | None
    ) -> Float[Array, "b _ _ {self.features}"]:
        style, c = self.style, x.shape[-1]
        h = nn.silu(norm(c, "norm0", style.epsilon, self.dtype)(x))
        h = resampled(h, self.resampling, self.taps)
        h = conv(self.features, "conv0", init=style.first, dtype=self.dtype)(h)
        modulation = dense((1 + style.adaptive_scale) * self.features, "affine", style.first)(level)
        modulation = modulation[:, None, None, :].astype(h.dtype)
        of_h = norm(self.features, "norm1", style.epsilon, self.dtype)
        if style.adaptive_scale:
            scale, shift = jnp.split(modulation, 2, axis=-1)
            h = of_h(h) * (1.0 + scale) + shift
        else:
            h = of_h(h + modulation)
        h = layers.dropout(nn.silu(h), self.dropout, keys)
        h = conv(self.features, "conv1", init=style.last, dtype=self.dtype)(h)
        x = resampled(x, self.resampling, self.taps)
        if c != self.features or (self.resampling and style.converts_when_resampling):
            x = conv(self.features, "skip", 1, style.first, self.dtype)(x)
        x = (h + x) * style.skip_scale
        return (self._attention(x) + x) * style.skip_scale if self.heads else x

    def _attention(self, x: layers.Image) -> layers.Image:
        """Self-attention over all pixels; `qkv` orders channels (head, channel, q/k/v)."""
        b, height, width, c = x.shape
        normed = norm(c, "norm2", self.style.epsilon, self.dtype)(x)
        qkv = dense(3 * c, "qkv", self.style.of_queries, self.dtype)(normed)
        qkv = qkv.reshape(b, height * width, self.heads, c // self.heads, 3)
        q, k, v = jnp.moveaxis(qkv, 4, 0)
        mixed = attended(q, k, v).reshape(x.shape)
        return dense(c, "proj", self.style.last, self.dtype)(mixed)
