"""Shared parts of the vision transformers: images as tokens, self-attention, and the MLP of each token.

A token is a patch of `patch_size` x `patch_size` pixels. Tokens are ordered row by row, and the values in a patch as (row,
column, channel). Layers are named as in the published state dicts, with an underscore in place of a dot before a number, so
that published weights are read by name (foreign_weights/state_dicts.py).
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Float

from score_sde.data.image_shape import in_words, sides
from score_sde.errors import ConfigError
from score_sde.models.attention import attended
from score_sde.models.layers import Image, Other
from score_sde.models.network import DTYPES, Network
from score_sde.options import count, option, positive
from score_sde.shapes import Array

Tokens = Float[Array, "b n d"]
Patches = Float[Array, "b n _"]


class Transformer(Network):
    """Base class of the transformers. The noise input is a time label, roughly in 0 ... 1000, as in the published ones."""

    patch_size: int = option(
        2, "transformers: pixels per side of a patch, which is a token", count(1024)
    )
    width: int = option(384, "transformers: width of a token", count(2**16))
    depth: int = option(
        12,
        "transformers: number of blocks; uvit: half of them before the one in the middle, half after it",
        count(1024),
    )
    num_heads: int = option(
        6,
        "transformers: attention heads; they share width (rin: latent_width too)",
        count(1024),
    )
    mlp_ratio: float = option(
        4.0, "transformers: hidden units of an MLP, as a multiple of its width", positive
    )

    def check_fits(self) -> None:
        """Refuse patches that do not tile the image, and numbers of heads that do not divide the width.

        Raises:
          ConfigError: the message lists the numbers that do.
        """
        image_sides = sides(self.image_size, self.image_width)
        if any(side % self.patch_size for side in image_sides):
            tile = [
                p for p in range(1, min(image_sides) + 1) if not any(s % p for s in image_sides)
            ]
            raise ConfigError(
                f"model.patch_size={self.patch_size} does not divide images of {in_words(image_sides)} pixels; use one of "
                f"{', '.join(map(str, tile))}"
            )
        if self.width % self.num_heads:
            share = [n for n in range(1, self.width + 1) if not self.width % n]
            raise ConfigError(
                f"model.num_heads={self.num_heads} does not divide model.width={self.width}; use one of "
                f"{', '.join(map(str, share))}"
            )

    def patches(self, x: Image) -> Patches:
        """Split the image, scaled to [-1, 1], into flattened patches."""
        x = x if self.centered else 2 * x - 1
        b, h, w, c = x.shape
        p = self.patch_size
        split = x.reshape(b, h // p, p, w // p, p, c)
        return split.transpose(0, 1, 3, 2, 4, 5).reshape(b, -1, p * p * c)

    def image(self, patches: Patches) -> Other:
        """The inverse of `patches`, for any number of channels and without the scaling."""
        h, w = sides(self.image_size, self.image_width)
        p = self.patch_size
        b = len(patches)
        split = patches.reshape(b, h // p, w // p, p, p, -1)
        return split.transpose(0, 1, 3, 2, 4, 5).reshape(b, h, w, -1)

    @property
    def _dtype(self) -> DTypeLike | None:
        return DTYPES[self.dtype]


class PatchEmbedding(nn.Module):
    """Linear map of each patch to a token, often written as a convolution with a stride equal to its kernel size."""

    width: int
    kernel_init: nn.initializers.Initializer
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, patches: Patches) -> Tokens:
        return nn.Dense(self.width, dtype=self.dtype, kernel_init=self.kernel_init, name="proj")(
            patches
        )


class Attention(nn.Module):
    """Self-attention with scale 1/sqrt(width of a head) (Vaswani et al. 2017, Sec. 3.2)."""

    num_heads: int
    kernel_init: nn.initializers.Initializer
    qkv_bias: bool = True
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        b, n, width = x.shape
        heads = (b, n, 3, self.num_heads, width // self.num_heads)
        qkv = nn.Dense(
            3 * width, self.qkv_bias, self.dtype, kernel_init=self.kernel_init, name="qkv"
        )(x)
        query, key, value = jnp.moveaxis(qkv.reshape(heads), 2, 0)
        mixed = attended(query, key, value)
        return nn.Dense(width, dtype=self.dtype, kernel_init=self.kernel_init, name="proj")(
            mixed.reshape(b, n, width)
        )


class Perceptron(nn.Module):
    """An MLP of two dense layers with GELU between them."""

    hidden: int
    kernel_init: nn.initializers.Initializer
    approximate: bool
    """Compute GELU by its tanh approximation; False: by the error function."""
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        width = x.shape[-1]
        hidden = nn.Dense(self.hidden, dtype=self.dtype, kernel_init=self.kernel_init, name="fc1")(
            x
        )
        hidden = nn.gelu(hidden, self.approximate)
        return nn.Dense(width, dtype=self.dtype, kernel_init=self.kernel_init, name="fc2")(hidden)
