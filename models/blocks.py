"""Residual and attention blocks: NCSN++ and DDPM++ (Song et al. 2021, App. H), DDPM (Ho et al. 2020).

Class names are those of the published networks, because published parameters are found by name (`foreign_weights/names.py`).
"""

import math

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float

from score_sde.models import layers, resample
from score_sde.shapes import Array, Keys


class AttnBlockpp(nn.Module):
    """Single-head self-attention over all pixels, with a residual connection.

        h = softmax(q k^T / sqrt(c)) v,    y = (x + h W_3 + b_3) / r,    r = sqrt(2) if skip_rescale else 1

    The cost grows as (h w)^2 c, so it suits low resolutions only.
    """

    skip_rescale: bool = True
    init_scale: float = 0.0
    groups: int | None = None
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: layers.Image) -> layers.Image:
        b, height, width, c = x.shape
        normed = layers.group_norm(c, self.groups, self.dtype)(x)
        q, k, v = (
            layers.NIN(c, dtype=self.dtype)(normed).reshape(b, height * width, c)
            for _ in ("q", "k", "v")
        )
        # Logits and softmax in float32 or more: the sum runs over up to thousands of keys.
        accurate = jnp.promote_types(q.dtype, jnp.float32)
        logits = jnp.einsum("bqc,bkc->bqk", q, k, preferred_element_type=accurate)
        weights = nn.softmax(logits / math.sqrt(c), axis=-1).astype(v.dtype)
        h = jnp.einsum("bqk,bkc->bqc", weights, v).reshape(x.shape)
        h = layers.NIN(c, self.init_scale, self.dtype)(h)
        return rescaled_sum(x, h, self.skip_rescale)


class AttnBlock(AttnBlockpp):
    """The attention of the DDPM model: same layers, under its published name."""


class ResnetBlockDDPMpp(nn.Module):
    """Residual block of DDPM with the noise level added between its convolutions (App. H, "DDPM" block).

        h = conv(act(norm(x))) + dense(act(temb)),    h = conv(dropout(act(norm(h)))),    y = (shortcut(x) + h) / r

    The shortcut is the identity, or a NIN where the channels change.
    """

    features: int
    activation: layers.Activation = nn.swish
    dropout: float = 0.0
    skip_rescale: bool = True
    init_scale: float = 0.0
    groups: int | None = None
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, x: layers.Image, temb: layers.Features | None, keys: Keys | None = None
    ) -> Float[Array, "b _ _ {self.features}"]:
        h = self.activation(layers.group_norm(x.shape[-1], self.groups, self.dtype)(x))
        h = layers.conv3x3(self.features, dtype=self.dtype)(h)
        h = add_embedding(h, temb, self.activation)
        h = self.activation(layers.group_norm(self.features, self.groups, self.dtype)(h))
        h = layers.dropout(h, self.dropout, keys)
        h = layers.conv3x3(self.features, self.init_scale, self.dtype)(h)
        if x.shape[-1] != self.features:
            x = layers.NIN(self.features, dtype=self.dtype)(x)
        return rescaled_sum(x, h, self.skip_rescale)


class ResnetBlockDDPM(ResnetBlockDDPMpp):
    """The block of the DDPM model: same layers, under its published name."""


class ResnetBlockBigGANpp(nn.Module):
    """Residual block of BigGAN (Brock et al. 2019), which can change the resolution (App. H, "BigGAN" block).

    As `ResnetBlockDDPMpp`, but both the main path (after norm and activation, before the first convolution)
    and the shortcut are resampled, and the shortcut is a 1x1 convolution whenever channels or resolution
    change.

    `resampling` is None, "up" or "down".
    """

    features: int
    activation: layers.Activation = nn.swish
    dropout: float = 0.0
    skip_rescale: bool = True
    init_scale: float = 0.0
    resampling: str | None = None
    fir: bool = False
    fir_kernel: tuple[int, ...] = (1, 3, 3, 1)
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, x: layers.Image, temb: layers.Features | None, keys: Keys | None = None
    ) -> Float[Array, "b _ _ {self.features}"]:
        c = x.shape[-1]
        repeats = self.resampling == "up" and not self.fir
        h = self.activation(layers.group_norm(c, dtype=self.dtype)(x))
        if repeats:
            h = layers.upsampled_conv3x3(self.features, dtype=self.dtype)(h)
        else:
            h = layers.conv3x3(self.features, dtype=self.dtype)(self._resample(h))
        h = add_embedding(h, temb, self.activation)
        h = self.activation(layers.group_norm(self.features, dtype=self.dtype)(h))
        h = layers.dropout(h, self.dropout, keys)
        h = layers.conv3x3(self.features, self.init_scale, self.dtype)(h)
        if repeats:
            # A 1x1 convolution commutes with the repetition of pixels; applied before it, it is a quarter of the work.
            x = self._resample(layers.conv1x1(self.features, self.dtype)(x))
        elif c != self.features or self.resampling is not None:
            x = layers.conv1x1(self.features, self.dtype)(self._resample(x))
        return rescaled_sum(x, h, self.skip_rescale)

    def _resample(self, x: layers.Image) -> layers.Other:
        if self.resampling == "up":
            return (
                resample.upsample_2d(x, self.fir_kernel)
                if self.fir
                else resample.naive_upsample_2d(x)
            )
        if self.resampling == "down":
            return (
                resample.downsample_2d(x, self.fir_kernel)
                if self.fir
                else resample.naive_downsample_2d(x)
            )
        return x


def add_embedding(
    h: layers.Image, temb: layers.Features | None, activation: layers.Activation
) -> layers.Image:
    """Adds a dense layer of the noise embedding to every pixel; the embedding itself stays float32."""
    if temb is None:
        return h
    shift = layers.dense(h.shape[-1])(activation(temb))
    return h + shift[:, None, None, :].astype(h.dtype)


def rescaled_sum(x: layers.Image, h: layers.Image, rescale: bool) -> layers.Image:
    """x + h, divided by sqrt(2) to keep the variance of two uncorrelated terms (App. H, "skip rescale")."""
    return (x + h) / math.sqrt(2) if rescale else x + h
