"""A classifier of noisy images: ADM's encoder with attention pooling (Dhariwal & Nichol 2021), and its p(y | x_t).

    body:  the encoder and the middle blocks of ADM's U-Net (models/adm_blocks.py)
    head:  norm, activation, attention pooling (the mean over positions is the query), linear map to the classes

The noise level scales and shifts the second norm of each block. The noise input is 999 t/T, and the input image is
x / sqrt(alpha^2 + sigma^2), which is x for a variance-preserving process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Float

from score_sde.data.image_shape import sides
from score_sde.errors import ConfigError
from score_sde.models import layers
from score_sde.models.adm import check_channels, check_sinusoids
from score_sde.models.adm_blocks import Levels, conv, dense, level_embedding, norm
from score_sde.models.attention import attended
from score_sde.models.predictions import noise_label
from score_sde.models.published import StateDict
from score_sde.models.unet import check_sides
from score_sde.options import Section, count, option, probability
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Array, Images, Integers, Keys, PerImage

Logits = Float[Array, "b classes"]
ATTENTION = (32, 16, 8)  # the default, allowed also where images are too small for any of these


class AttentionPool(nn.Module):
    """Attention from the mean over positions to itself and all positions, as in CLIP's image encoder (Radford et al. 2021)."""

    classes: int
    head_channels: int

    @nn.compact
    def __call__(self, x: layers.Image) -> Logits:
        b, height, width, c = x.shape
        x = x.reshape(b, height * width, c)
        x = jnp.concatenate([x.mean(axis=1, keepdims=True), x], axis=1)
        spread = nn.initializers.normal(1.0 / math.sqrt(c))
        shape = (c, height * width + 1)
        x = x + self.param("positional_embedding", spread, shape, jnp.float32).T[None]
        split = (b, height * width + 1, 3, c // self.head_channels, self.head_channels)
        q, k, v = jnp.moveaxis(dense(3 * c, "qkv_proj")(x).reshape(split), 2, 0)
        return dense(self.classes, "c_proj")(attended(q[:, :1], k, v).reshape(b, c))


class NoisyClassifierNetwork(Section, nn.Module):
    """The classifier network, with the options of config.noisy_classifier.

    `net.apply({"params": params}, x, noise_input, dropout_keys)` -> logits (b, classes).
    """

    image_size: int
    image_width: int = 0
    centered: bool = True
    num_classes: int = option(
        10, "training.task=classifier: classes to tell apart", count(10**6, 2)
    )
    width: int = option(128, "base width, a multiple of 32", count(2**16))
    ch_mult: tuple[int, ...] = option(
        (1, 2, 3, 4), "width of each resolution level as a multiple of width"
    )
    num_res_blocks: int = option(4, "residual blocks per level", count(64))
    attn_resolutions: tuple[int, ...] = option(
        ATTENTION,
        "self-attention where the shorter side has one of these numbers of pixels, and always in the middle",
    )
    head_channels: int = option(64, "channels per attention head", count(2**16))
    dropout: float = option(0.1, "rate, in training only", probability)

    def __post_init__(self) -> None:
        self.check_options(self, "noisy_classifier")
        section, widths = "noisy_classifier", [self.width * mult for mult in self.ch_mult]
        if not self.ch_mult or min(self.ch_mult) < 1:
            raise ConfigError(
                f"{section}.ch_mult={tuple(self.ch_mult)}: expected a positive integer for each level, such as 1,2"
            )
        check_sides(sides(self.image_size, self.image_width), self.ch_mult)
        check_channels(
            f"{section}.width={self.width}",
            f"{section}.head_channels",
            tuple(widths),
            self.head_channels,
        )
        check_sinusoids(self.width)
        super().__post_init__()

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Build the network from config.noisy_classifier, and the size and range of images in config.data."""
        given: dict[str, Any] = {}
        for name in cls.options():
            value = config.noisy_classifier[name]
            given[name] = tuple(value) if isinstance(value, (list, tuple)) else value
        data = config.data
        return cls(data.image_size, data.image_width, data.centered, **given)

    def check_attention(self) -> None:
        """Refuse, before training, attention resolutions that no level has.

        Raises:
          ConfigError: none of them matches; the message lists the resolutions of the levels.
        """
        h, w = sides(self.image_size, self.image_width)
        sizes = [min(h, w) >> level for level in range(len(self.ch_mult))]
        asked = tuple(self.attn_resolutions)
        if asked not in ((), ATTENTION) and not set(asked) & set(sizes):
            raise ConfigError(
                f"noisy_classifier.attn_resolutions={asked}: the levels of images of {h}x{w} pixels have {', '.join(map(str, sizes))}, so "
                "there would be no attention except in the middle; use some of these, or () for none"
            )

    @nn.compact
    def __call__(
        self, x: layers.Image, noise_input: PerImage, dropout_keys: Keys | None = None
    ) -> Logits:
        keys = layers.layer_keys(dropout_keys, self.dropout)
        level = level_embedding(noise_input, self.width, 4 * self.width)
        h = conv(self.width * self.ch_mult[0], "input_blocks_0_0")(
            x if self.centered else 2.0 * x - 1.0
        )
        h, _ = self._levels.down(h, level, keys)
        h = nn.silu(norm("out_0")(self._levels.middle(h, level, keys)))
        return AttentionPool(self.num_classes, self.head_channels, name="out_2")(h)

    @property
    def state_dict(self) -> StateDict:
        """The published state dict, in which layers of attention and of the pooling are 1-D convolutions."""
        ends = (".qkv", ".proj_out", ".qkv_proj", ".c_proj")
        return StateDict(convolutions=dict.fromkeys(ends, (1,)))

    @property
    def _levels(self) -> Levels:
        return Levels(
            tuple(self.width * mult for mult in self.ch_mult),
            self.num_res_blocks,
            self.attn_resolutions,
            lambda channels: channels // self.head_channels,
            self.dropout,
        )


@flax.struct.dataclass
class NoisyClassifier:
    """A classifier network with its parameters, as p(y | x_t) of a process."""

    params: Any
    apply: Callable[..., Logits] = flax.struct.field(pytree_node=False)
    sde: SDE = flax.struct.field(pytree_node=False)

    def logits(self, x: Images, t: PerImage, dropout_keys: Keys | None = None) -> Logits:
        """ln p(y | x_t) up to a constant per image."""
        level = jnp.hypot(self.sde.alpha(t), self.sde.sigma(t))
        given = x / expand(level, x), noise_label(self.sde, t)
        return self.apply({"params": self.params}, *given, dropout_keys)

    def log_probability(
        self, x: Images, t: PerImage, labels: Integers, dropout_keys: Keys | None = None
    ) -> PerImage:
        """ln p(label | x_t) in nats."""
        return of_label(jax.nn.log_softmax(self.logits(x, t, dropout_keys)), labels)


def of_label(log_probabilities: Logits, labels: Integers) -> PerImage:
    """The log-probability of each image's label; 0 for "no class", the label after the last; NaN for any other label."""
    padded = jnp.pad(log_probabilities, ((0, 0), (0, 1)))
    index = jnp.where(labels < 0, padded.shape[1], labels)[:, None]
    return jnp.take_along_axis(padded, index, axis=1, mode="fill", fill_value=jnp.nan)[:, 0]
