"""A classifier of noisy images: ADM's encoder with attention pooling (Dhariwal & Nichol 2021), and what it says of x_t.

    first convolution
    per level: num_res_blocks blocks, each with attention at some resolutions, then a block that halves
    middle:    block, attention, block
    head:      norm, activation, attention pooling: one query, the mean over positions, to the classes

Blocks take the noise level as a scale and a shift of their second norm. The network is told 999 t/T and given
x / sqrt(alpha^2 + sigma^2), which is x for a process that preserves variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from score_sde.data.image_shape import sides
from score_sde.errors import ConfigError
from score_sde.models import layers
from score_sde.models.parameterization import noise_label
from score_sde.models.resample import naive_downsample_2d
from score_sde.models.unet import check_sides
from score_sde.options import Section, count, option, probability
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Array, Images, Integers, Keys, PerImage

GROUPS = 32
Logits = Float[Array, "b classes"]

# PyTorch's default for weights, +-1/sqrt(fan_in); biases begin at 0.
of_fan_in = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")


def norm() -> nn.GroupNorm:
    """The group norm of the published classifier."""
    return nn.GroupNorm(GROUPS, epsilon=1e-5, use_fast_variance=False)


def dense(features: int, init: Any = of_fan_in) -> nn.Dense:
    """A dense layer with the given initialiser."""
    return nn.Dense(features, kernel_init=init)


def conv(features: int, size: int = 3, init: Any = of_fan_in) -> nn.Conv:
    """A convolution with the given initialiser."""
    return nn.Conv(features, (size, size), kernel_init=init)


class ResBlock(nn.Module):
    """y = skip(x) + conv(act(norm(conv(act(norm(x)))) (1 + scale) + shift)); it may halve the resolution first."""

    features: int
    halves: bool = False
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, x: layers.Image, level: layers.Features, keys: Keys | None
    ) -> Float[Array, "b _ _ {self.features}"]:
        h = nn.silu(norm()(x))
        if self.halves:
            h, x = naive_downsample_2d(h), naive_downsample_2d(x)
        h = conv(self.features)(h)
        of_level = dense(2 * self.features)(nn.silu(level))[:, None, None, :]
        scale, shift = jnp.split(of_level, 2, axis=-1)
        h = nn.silu(norm()(h) * (1.0 + scale) + shift)
        h = layers.dropout(h, self.dropout, keys)
        h = conv(self.features, init=nn.initializers.zeros)(h)
        if x.shape[-1] != self.features:
            x = conv(self.features, 1)(x)
        return x + h


class Attention(nn.Module):
    """Self-attention over all pixels as a residual, in heads of so many channels: queries, keys and values head by head."""

    head_channels: int

    @nn.compact
    def __call__(self, x: layers.Image) -> layers.Image:
        b, height, width, c = x.shape
        split = (b, height * width, c // self.head_channels, 3, self.head_channels)
        q, k, v = jnp.moveaxis(dense(3 * c)(norm()(x)).reshape(split), 3, 0)
        h = attended(q, k, v).reshape(x.shape)
        return x + dense(c, nn.initializers.zeros)(h)


class AttentionPool(nn.Module):
    """Attention from the mean over positions to it and all of them, as in CLIP's image encoder (Radford et al. 2021)."""

    classes: int
    head_channels: int

    @nn.compact
    def __call__(self, x: layers.Image) -> Logits:
        b, height, width, c = x.shape
        x = x.reshape(b, height * width, c)
        x = jnp.concatenate([x.mean(axis=1, keepdims=True), x], axis=1)
        spread = nn.initializers.normal(1.0 / math.sqrt(c))
        x = x + self.param("positions", spread, (height * width + 1, c), jnp.float32)[None]
        split = (b, height * width + 1, 3, c // self.head_channels, self.head_channels)
        q, k, v = jnp.moveaxis(dense(3 * c)(x).reshape(split), 2, 0)
        return dense(self.classes)(attended(q[:, :1], k, v).reshape(b, c))


def attended(
    q: Float[Array, "b q heads c"], k: Float[Array, "b k heads c"], v: Float[Array, "b k heads c"]
) -> Float[Array, "b q heads c"]:
    """softmax(q k^T / sqrt(c)) v."""
    logits = jnp.einsum("bqhc,bkhc->bhqk", q, k) / math.sqrt(q.shape[-1])
    return jnp.einsum("bhqk,bkhc->bqhc", nn.softmax(logits, axis=-1), v)


def cosines_and_sines(labels: PerImage, features: int) -> Float[Array, "b {features}"]:
    """[cos(omega label), sin(omega label)], omega_i = 10000^(-i / half), in float64's frequencies."""
    half = features // 2
    frequencies = np.exp(-np.log(10_000.0) * np.arange(half) / half)
    angles = labels[:, None] * jnp.asarray(frequencies, labels.dtype)[None]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class NoisyClassifierNetwork(Section, nn.Module):
    """Options of config.noisy_classifier. `net.apply({"params": params}, x, noise_input, dropout_keys)` -> logits (b, classes)."""

    image_size: int
    image_width: int = 0
    centered: bool = True
    num_classes: int = option(
        10, "training.task=classifier: classes that are told apart", count(10**6, 2)
    )
    width: int = option(128, "base width, a multiple of 32", count(2**16))
    ch_mult: tuple[int, ...] = option(
        (1, 2, 3, 4), "width of each resolution level, in units of width"
    )
    num_res_blocks: int = option(4, "residual blocks a level", count(64))
    attn_resolutions: tuple[int, ...] = option(
        (32, 16, 8),
        "self-attention where an image's shorter side has so many pixels, and always in the middle",
    )
    head_channels: int = option(64, "channels of a head of attention", count(2**16))
    dropout: float = option(0.1, "rate, in training only", probability)

    def __post_init__(self) -> None:
        self.check_options(self, "noisy_classifier")
        section, widths = "noisy_classifier", [self.width * mult for mult in self.ch_mult]
        if not self.ch_mult or min(self.ch_mult) < 1:
            raise ConfigError(
                f"{section}.ch_mult={tuple(self.ch_mult)}: expected a positive integer for each level, such as 1,2"
            )
        check_sides(sides(self.image_size, self.image_width), self.ch_mult)
        if any(width % GROUPS for width in widths):
            raise ConfigError(
                f"{section}.width={self.width}: the levels have {widths} channels, which {GROUPS} groups of a norm must divide; "
                "take a multiple of 32"
            )
        if any(width % self.head_channels for width in widths):
            raise ConfigError(
                f"{section}.head_channels={self.head_channels} divides not all of the levels' {widths} channels; take a divisor, "
                "such as 32"
            )
        super().__post_init__()

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Every option from config.noisy_classifier, and the image's sides."""
        given: dict[str, Any] = {}
        for name in cls.options():
            value = config.noisy_classifier[name]
            given[name] = tuple(value) if isinstance(value, (list, tuple)) else value
        data = config.data
        return cls(data.image_size, data.image_width, data.centered, **given)

    @nn.compact
    def __call__(
        self, x: layers.Image, noise_input: PerImage, dropout_keys: Keys | None = None
    ) -> Logits:
        keys = layers.layer_keys(dropout_keys, self.dropout)
        level = dense(4 * self.width)(cosines_and_sines(noise_input, self.width))
        level = dense(4 * self.width)(nn.silu(level))
        h = conv(self.width * self.ch_mult[0])(x if self.centered else 2.0 * x - 1.0)
        for number, mult in enumerate(self.ch_mult):
            features = self.width * mult
            for _ in range(self.num_res_blocks):
                h = self._block(features)(h, level, next(keys))
                if min(h.shape[1:3]) in self.attn_resolutions:
                    h = Attention(self.head_channels)(h)
            if number < len(self.ch_mult) - 1:
                h = self._block(features, halves=True)(h, level, next(keys))
        h = self._block(features)(h, level, next(keys))
        h = Attention(self.head_channels)(h)
        h = self._block(features)(h, level, next(keys))
        return AttentionPool(self.num_classes, self.head_channels)(nn.silu(norm()(h)))

    def _block(self, features: int, halves: bool = False) -> ResBlock:
        return ResBlock(features, halves, self.dropout)


@flax.struct.dataclass
class NoisyClassifier:
    """The network with its parameters: p(y | x_t) of a process."""

    params: Any
    apply: Callable[..., Logits] = flax.struct.field(pytree_node=False)
    sde: SDE = flax.struct.field(pytree_node=False)

    def logits(self, x: Images, t: PerImage, dropout_keys: Keys | None = None) -> Logits:
        """ln p(y | x_t) but for a constant of each image."""
        level = jnp.hypot(self.sde.alpha(t), self.sde.sigma(t))
        given = x / expand(level, x), noise_label(self.sde, t)
        return self.apply({"params": self.params}, *given, dropout_keys)

    def log_probability(
        self, x: Images, t: PerImage, labels: Integers, dropout_keys: Keys | None = None
    ) -> PerImage:
        """ln p(label | x_t) in nats."""
        return of_label(jax.nn.log_softmax(self.logits(x, t, dropout_keys)), labels)


def of_label(log_probabilities: Logits, labels: Integers) -> PerImage:
    """Each image's own; 0 for the label after the last, which is "no class"; NaN for any other number."""
    padded = jnp.pad(log_probabilities, ((0, 0), (0, 1)))
    index = jnp.where(labels < 0, padded.shape[1], labels)[:, None]
    return jnp.take_along_axis(padded, index, axis=1, mode="fill", fill_value=jnp.nan)[:, 0]
