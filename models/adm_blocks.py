"""Blocks of ADM (Dhariwal & Nichol 2021), and the encoder and decoder made of them, used by its U-Net and its classifier.

    down:    per level, num_res_blocks blocks, each followed by attention at some resolutions, then half the resolution
    middle:  block, attention, block
    up:      per level, num_res_blocks + 1 blocks, each joined by a skip, then twice the resolution

Layers are named as in the published state dicts, with an underscore in place of a dot before a number
(foreign_weights/state_dicts.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float

from score_sde.models import layers
from score_sde.models.attention import attended
from score_sde.models.embeddings import time_features
from score_sde.models.group_norm import GroupNorm
from score_sde.models.resample import naive_downsample_2d, naive_upsample_2d
from score_sde.shapes import Array, Keys, PerImage

GROUPS = 32
ZERO = nn.initializers.zeros
# PyTorch's default for weights, uniform within +-1/sqrt(fan_in); biases start at 0.
OF_FAN_IN = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")


def norm(name: str, dtype: DTypeLike | None = None) -> GroupNorm:
    """ADM's group norm, of 32 groups."""
    return GroupNorm(GROUPS, dtype, 1e-5, name=name)


def dense(
    features: int, name: str, init: Any = OF_FAN_IN, dtype: DTypeLike | None = None
) -> nn.Dense:
    """A dense layer, by default with PyTorch's initial weights."""
    return nn.Dense(features, kernel_init=init, dtype=dtype, name=name)


def conv(
    features: int,
    name: str,
    size: int = 3,
    init: Any = OF_FAN_IN,
    dtype: DTypeLike | None = None,
    stride: int = 1,
) -> nn.Conv:
    """A convolution with equal zero padding on all sides."""
    edge = size // 2
    return nn.Conv(
        features,
        (size, size),
        (stride, stride),
        ((edge, edge), (edge, edge)),
        kernel_init=init,
        dtype=dtype,
        name=name,
    )


def level_embedding(noise_input: PerImage, features: int, width: int) -> Float[Array, "b {width}"]:
    """MLP of the noise level's sinusoids, cosines first; to be called within a compact method."""
    hidden = dense(width, "time_embed_0")(time_features(noise_input, features))
    return dense(width, "time_embed_2")(nn.silu(hidden))


class ResBlock(nn.Module):
    """Residual block y = skip(x) + conv(act(norm(conv(act(norm(x)))) (1 + scale) + shift)).

    Scale and shift are linear in act(level). With `resampling` the block halves ("down") or doubles ("up") the resolution,
    both of x and of the first convolution's input.
    """

    features: int
    resampling: str | None = None
    scale_shift: bool = True
    """Scale and shift the second norm by the level; False: add the level before that norm (Ho et al. 2020)."""
    dropout: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, x: layers.Image, level: layers.Features, keys: Keys | None
    ) -> Float[Array, "b _ _ {self.features}"]:
        change = RESAMPLE[self.resampling]
        h = change(nn.silu(norm("in_layers_0", self.dtype)(x)))
        x = change(x)
        h = conv(self.features, "in_layers_2", dtype=self.dtype)(h)
        modulation = dense((1 + self.scale_shift) * self.features, "emb_layers_1")(nn.silu(level))
        modulation = modulation[:, None, None, :].astype(h.dtype)
        of_h = norm("out_layers_0", self.dtype)
        if self.scale_shift:
            scale, shift = jnp.split(modulation, 2, axis=-1)
            h = of_h(h) * (1.0 + scale) + shift
        else:
            h = of_h(h + modulation)
        h = layers.dropout(nn.silu(h), self.dropout, keys)
        h = conv(self.features, "out_layers_3", init=ZERO, dtype=self.dtype)(h)
        if x.shape[-1] != self.features:
            x = conv(self.features, "skip_connection", 1, dtype=self.dtype)(x)
        return x + h


RESAMPLE: dict[str | None, Callable[[Array], Array]] = {
    None: lambda x: x,
    "down": naive_downsample_2d,
    "up": naive_upsample_2d,
}


class Attention(nn.Module):
    """Self-attention over all pixels, with a residual connection."""

    heads: int
    heads_first: bool = True
    """Order the output channels of `qkv` as (head, q/k/v, channel); False: (q/k/v, head, channel)."""
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: layers.Image) -> layers.Image:
        b, height, width, c = x.shape
        split = (self.heads, 3) if self.heads_first else (3, self.heads)
        qkv = dense(3 * c, "qkv", dtype=self.dtype)(norm("norm", self.dtype)(x))
        qkv = qkv.reshape(b, height * width, *split, c // self.heads)
        q, k, v = jnp.moveaxis(qkv, 3 if self.heads_first else 2, 0)
        h = attended(q, k, v).reshape(x.shape)
        return x + dense(c, "proj_out", ZERO, self.dtype)(h)


class Downsample(nn.Module):
    """Halves the resolution, by a convolution of stride 2 padded on all sides, or by 2x2 means."""

    with_conv: bool
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: layers.Image) -> Float[Array, "b h//2 w//2 _"]:
        if not self.with_conv:
            return naive_downsample_2d(x)
        return conv(x.shape[-1], "op", dtype=self.dtype, stride=2)(x)


class Upsample(nn.Module):
    """Doubles the resolution by repeating pixels, followed by a convolution if `with_conv`."""

    with_conv: bool
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: layers.Image) -> Float[Array, "b 2*h 2*w _"]:
        x = naive_upsample_2d(x)
        return conv(x.shape[-1], "conv", dtype=self.dtype)(x) if self.with_conv else x


def as_it_is(block: nn.Module) -> Any:
    """Return the block itself, without rematerialisation."""
    return block


@dataclasses.dataclass(frozen=True)
class Levels:
    """Encoder and decoder. Their methods are to be called within a module's compact method; the blocks belong to that module."""

    widths: tuple[int, ...]
    num_res_blocks: int
    attn_resolutions: tuple[int, ...]
    heads: Callable[[int], int]
    """Number of attention heads as a function of the number of channels."""
    dropout: float
    heads_first: bool = True
    scale_shift: bool = True
    updown_blocks: bool = True
    """Residual blocks change the resolution; False: layers between them do, with or without a convolution."""
    resamp_with_conv: bool = True
    dtype: DTypeLike | None = None
    called: Callable[[nn.Module], Any] = as_it_is
    """Applied to each block before it is called: the identity, or rematerialisation."""

    def down(
        self, h: layers.Image, level: layers.Features, keys: Iterator[Keys | None]
    ) -> tuple[layers.Other, list[layers.Other]]:
        """Return the features of the last level, and the skips: `h` itself, then the output of every step."""
        skips = [h]
        for number, width in enumerate(self.widths):
            for _ in range(self.num_res_blocks):
                name = f"input_blocks_{len(skips)}"
                h = self._block(width, f"{name}_0")(h, level, next(keys))
                if self._attends(h):
                    h = self._attention(h, f"{name}_1")
                skips.append(h)
            if number < len(self.widths) - 1:
                h = self._step("down", h, f"input_blocks_{len(skips)}_0", level, keys)
                skips.append(h)
        return h, skips

    def middle(
        self, h: layers.Image, level: layers.Features, keys: Iterator[Keys | None]
    ) -> layers.Image:
        h = self._block(h.shape[-1], "middle_block_0")(h, level, next(keys))
        h = self._attention(h, "middle_block_1")
        return self._block(h.shape[-1], "middle_block_2")(h, level, next(keys))

    def up(
        self,
        h: layers.Image,
        skips: list[layers.Other],
        level: layers.Features,
        keys: Iterator[Keys | None],
    ) -> layers.Other:
        blocks = len(skips)
        for number, width in reversed(list(enumerate(self.widths))):
            for block in range(self.num_res_blocks + 1):
                name = f"output_blocks_{blocks - len(skips)}"
                joined = jnp.concatenate([h, skips.pop()], axis=-1)
                h = self._block(width, f"{name}_0")(joined, level, next(keys))
                attends = self._attends(h)
                if attends:
                    h = self._attention(h, f"{name}_1")
                if number > 0 and block == self.num_res_blocks:
                    h = self._step("up", h, f"{name}_{1 + attends}", level, keys)
        return h

    def _attends(self, h: layers.Other) -> bool:
        return min(h.shape[1:3]) in self.attn_resolutions

    def _block(self, features: int, name: str, resampling: str | None = None) -> Any:
        return self.called(
            ResBlock(features, resampling, self.scale_shift, self.dropout, self.dtype, name=name)
        )

    def _attention(self, h: layers.Image, name: str) -> layers.Image:
        heads = self.heads(h.shape[-1])
        return self.called(Attention(heads, self.heads_first, self.dtype, name=name))(h)

    def _step(
        self,
        direction: str,
        h: layers.Image,
        name: str,
        level: layers.Features,
        keys: Iterator[Keys | None],
    ) -> layers.Other:
        if self.updown_blocks:
            return self._block(h.shape[-1], name, direction)(h, level, next(keys))
        layer = {"down": Downsample, "up": Upsample}[direction]
        return layer(self.resamp_with_conv, self.dtype, name=name)(h)
