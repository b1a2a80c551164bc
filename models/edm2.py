"""EDM2's network (Karras et al. 2024b, App. B): a U-Net of magnitude-preserving layers, which also predicts its uncertainty.

    down:  a convolution of the image and a channel of ones, then per level a block that halves the resolution (not at the
           first level) and num_res_blocks blocks
    up:    two blocks at the lowest level, the first with attention, then per level a block that doubles the resolution (not
           at the lowest) and num_res_blocks + 1 blocks, each joined by a skip
    head:  a convolution with a gain initialized to 0

There are no group norms and no biases. `noise_input` is c_noise itself, ln(sigma)/4 with model.predicts=edm. Layers are
named as in the published state dicts.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float

from score_sde.data.image_shape import sides
from score_sde.errors import ConfigError
from score_sde.models import layers
from score_sde.models.attention import attended
from score_sde.models.conditions import class_indicator
from score_sde.models.edm_blocks import resampled
from score_sde.models.magnitude import (
    MPFourier,
    MPLayer,
    forced,
    mp_cat,
    mp_silu,
    mp_sum,
    unit,
)
from score_sde.models.network import DTYPES
from score_sde.models.published import StateDict
from score_sde.models.unet import UNet
from score_sde.options import count, option
from score_sde.shapes import Array, Keys, PerImage

LABELS = SKIPS = 0.5  # weights of the class in the embedding, and of skips in concatenations
BRANCHES = 0.3  # weight of residual branches in their sums
LARGEST = 256.0  # activations are clipped to [-LARGEST, LARGEST]
TAPS = (1, 1)


class EDM2(UNet):
    """The network of EDM2. `net.apply({"params": params}, x, noise_input, condition)` -> (b, h, w, c).

    There is no vector for "no class", the label after the last: nothing is added for it.
    """

    # An option that adm declares.
    head_channels: int = 64
    # An added interval embedding would not preserve magnitudes.
    UNCONFIGURED: ClassVar[tuple[str, ...]] = (*UNet.UNCONFIGURED, "condition_interval")
    logvar_channels: int = option(
        128,
        "edm2: Fourier features of the noise level from which it predicts the log-variance of its error",
        count(2**16),
    )

    @classmethod
    def from_config(cls, config: Any) -> Self:
        if config.model.condition_interval:
            raise ConfigError(
                "model.condition_interval=True with model.name='edm2', which takes no interval: adding one to its embedding would not preserve "
                "magnitudes; set it to False, or use another network"
            )
        return super().from_config(config)

    def check_fits(self) -> None:
        super().check_fits()
        if self.condition_image != "none":
            raise ConfigError(
                f"model.condition_image={self.condition_image!r} with model.name='edm2', which takes no image: it preserves magnitudes only with "
                "the noisy image alone as input; use edm_unet, edm_adm or another network"
            )
        widths = [self.nf * mult for mult in self.ch_mult]
        if not self.head_channels or any(
            width % max(width // self.head_channels, 1) for width in widths
        ):
            raise ConfigError(
                f"model.head_channels={self.head_channels} does not split the levels' {widths} channels into equal heads; use a divisor, such "
                "as 64"
            )

    def setup(self) -> None:
        self.logvar_fourier = MPFourier(self.logvar_channels)
        self.logvar_linear = MPLayer(1)

    def log_variance(self, noise_input: PerImage) -> PerImage:
        """u(c_noise), the logarithm of the network's expected squared error; call by `apply(..., method="log_variance")`."""
        real = jnp.promote_types(noise_input.dtype, jnp.float32)
        return self.logvar_linear(self.logvar_fourier(noise_input.astype(real)))[:, 0]

    @nn.nowrap
    def projected(self, params: Any) -> Any:
        """Return equivalent parameters with normalized weights, with which training replaces them before each update."""
        return forced(params)

    @nn.compact
    def __call__(
        self,
        x: layers.Image,
        noise_input: Array,
        condition: Any = (),
        dropout_keys: Keys | None = None,
    ) -> layers.Image:
        """The raw output of the network; arguments and result as in `NCSNpp.__call__`."""
        x, noise_input = self.inputs(x, noise_input, condition)
        keys = layers.layer_keys(dropout_keys, self.dropout)
        if self.is_initializing():
            self.log_variance(noise_input)
        level = self._embedding(noise_input, condition)
        x = x if self.centered else 2 * x - 1
        x = jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
        first = MPLayer(self._widths[0], 3, self._dtype, name=f"enc_{self._side(0)}_conv")
        skips = [first(x)]
        for number, width in enumerate(self._widths):
            name = f"enc_{self._side(number)}"
            if number:
                h = skips[-1]
                down = self._block(h.shape[-1], f"{name}_down", "down")
                skips.append(down(h, level, next(keys)))
            for block in range(self.num_res_blocks):
                heads = self._heads(width) if self.attends(skips[-1]) else 0
                called = self._block(width, f"{name}_block{block}", heads=heads)
                skips.append(called(skips[-1], level, next(keys)))
        h = skips[-1]
        for number, width in reversed(list(enumerate(self._widths))):
            name, given = f"dec_{self._side(number)}", h.shape[-1]
            if number == len(self._widths) - 1:
                inner = self._block(given, f"{name}_in0", heads=self._heads(given), decodes=True)
                h = inner(h, level, next(keys))
                h = self._block(given, f"{name}_in1", decodes=True)(h, level, next(keys))
            else:
                h = self._block(given, f"{name}_up", "up", decodes=True)(h, level, next(keys))
            for block in range(self.num_res_blocks + 1):
                heads = self._heads(width) if self.attends(h) else 0
                called = self._block(width, f"{name}_block{block}", heads=heads, decodes=True)
                h = called(mp_cat(h, skips.pop(), SKIPS), level, next(keys))
        gain = self.param("out_gain", nn.initializers.zeros, (), jnp.float32)
        # No dtype: the convolution stays in float32, since nothing after it corrects rounding errors.
        return MPLayer(self.num_channels, 3, name="out_conv")(h.astype(x.dtype), gain)

    def _embedding(self, noise_input: PerImage, condition: Any) -> layers.Features:
        width = self._embedding_width()
        features = MPFourier(self._widths[0], name="emb_fourier")(noise_input)
        level = MPLayer(width, name="emb_noise")(features)
        if self.num_classes:
            classes = class_indicator(condition, self.num_classes, len(level), level.dtype)
            of_class = MPLayer(width, name="emb_label")(classes * math.sqrt(self.num_classes))
            level = mp_sum(level, of_class, LABELS)
        return mp_silu(level)

    @property
    def state_dict(self) -> StateDict:
        """The published state dict, in which the U-Net is nested in a preconditioning module, beside the log-variance."""
        return StateDict(within="unet.", beside=("logvar_",))

    def _embedding_width(self) -> int:
        return max(self._widths)

    def _block(
        self,
        features: int,
        name: str,
        resampling: str | None = None,
        heads: int = 0,
        decodes: bool = False,
    ) -> Any:
        return self._block_call(
            EDM2Block(features, decodes, resampling, heads, self.dropout, self._dtype, name=name)
        )

    def _heads(self, channels: int) -> int:
        return channels // self.head_channels

    def _side(self, number: int) -> str:
        side = min(sides(self.image_size, self.image_width)) >> number
        return f"{side}x{side}"

    @property
    def _widths(self) -> tuple[int, ...]:
        return tuple(self.nf * mult for mult in self.ch_mult)

    @property
    def _dtype(self) -> DTypeLike | None:
        return DTYPES[self.dtype]


class EDM2Block(nn.Module):
    """Two convolutions with a per-channel gain from the noise level between them, mixed into the features; then attention.

    In the encoder the features are first normalized to mean square 1 at each pixel; in the decoder they have been
    concatenated with a skip, and are not normalized.
    """

    features: int
    decodes: bool
    resampling: str | None = None
    heads: int = 0
    """Attention heads; 0: no attention."""
    dropout: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, x: layers.Image, level: layers.Features, keys: Keys | None
    ) -> Float[Array, "b _ _ {self.features}"]:
        x = resampled(x, self.resampling, TAPS)
        if not self.decodes:
            x = unit(self._shortcut(x), (-1,))
        h = MPLayer(self.features, 3, self.dtype, name="conv_res0")(mp_silu(x))
        gain = self.param("emb_gain", nn.initializers.zeros, (), jnp.float32)
        modulation = 1.0 + MPLayer(self.features, name="emb_linear")(level, gain)
        h = mp_silu(h * modulation[:, None, None, :].astype(h.dtype))
        h = layers.dropout(h, self.dropout, keys)
        h = MPLayer(self.features, 3, self.dtype, name="conv_res1")(h)
        x = mp_sum(self._shortcut(x) if self.decodes else x, h, BRANCHES)
        if self.heads:
            x = mp_sum(x, self._attention(x), BRANCHES)
        return jnp.clip(x, -LARGEST, LARGEST)

    def _shortcut(self, x: layers.Image) -> layers.Other:
        if x.shape[-1] == self.features:
            return x
        return MPLayer(self.features, 1, self.dtype, name="conv_skip")(x)

    def _attention(self, x: layers.Image) -> layers.Image:
        """Self-attention with queries, keys and values of mean square 1 in each head; `attn_qkv` orders channels (head, channel, q/k/v)."""
        b, height, width, c = x.shape
        qkv = MPLayer(3 * c, 1, self.dtype, name="attn_qkv")(x)
        qkv = qkv.reshape(b, height * width, self.heads, c // self.heads, 3)
        q, k, v = jnp.moveaxis(unit(qkv, (-2,)), 4, 0)
        mixed = attended(q, k, v).reshape(x.shape)
        return MPLayer(c, 1, self.dtype, name="attn_proj")(mixed)
