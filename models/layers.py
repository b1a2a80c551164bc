"""Layers of the score networks, from which `models/blocks.py` builds residual and attention blocks.

Class and leaf names are those of the published networks, because Flax derives parameter names from them and
published checkpoints are read by name (`foreign_weights/names.py`); hence `NIN`, `W`, `Conv2d`.

Precision. With dtype=None nothing is cast: parameters and activations keep their own dtype, float32 or, for
checks, float64. With bfloat16, convolutions and matrix products take bfloat16 operands, while parameters,
norm statistics, softmax, and embeddings stay in float32.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax.typing import DTypeLike
from jaxtyping import Float

from score_sde.errors import ConfigError
from score_sde.models import resample
from score_sde.models.group_norm import GroupNorm
from score_sde.shapes import Array, Keys

Image = resample.Image
Other = Float[Array, "b _ _ _"]  # an image of another shape
Features = Float[Array, "b f"]
Activation = Callable[[Array], Array]

ACTIVATIONS: dict[str, Activation] = {
    "swish": nn.swish,
    "elu": nn.elu,
    "relu": nn.relu,
    "lrelu": functools.partial(nn.leaky_relu, negative_slope=0.2),
}


def default_init(scale: float = 1.0) -> nn.initializers.Initializer:
    """Uniform with variance 2 scale / (fan_in + fan_out).

    A scale of 0 means "start as zero" and becomes 1e-10: the layer's output is then negligible next to its
    input, yet different units have different gradients.
    """
    return nn.initializers.variance_scaling(scale or 1e-10, "fan_avg", "uniform")


def conv3x3(features: int, init_scale: float = 1.0, dtype: DTypeLike | None = None) -> nn.Conv:
    """3x3 convolution that keeps the resolution."""
    return nn.Conv(features, (3, 3), kernel_init=default_init(init_scale), dtype=dtype)


def upsampled_conv3x3(
    features: int, init_scale: float = 1.0, dtype: DTypeLike | None = None
) -> nn.Conv:
    """`conv3x3` of the naively upsampled image."""

    def of_upsampled(x: Image, kernel: Array, *_: Any, **__: Any) -> Array:
        return resample.naive_upsample_conv_2d(x, kernel)

    return nn.Conv(
        features,
        (3, 3),
        kernel_init=default_init(init_scale),
        dtype=dtype,
        conv_general_dilated=of_upsampled,
    )


def conv1x1(features: int, dtype: DTypeLike | None = None) -> nn.Conv:
    """1x1 convolution: a change of channels."""
    return nn.Conv(features, (1, 1), kernel_init=default_init(), dtype=dtype)


def dense(features: int, dtype: DTypeLike | None = None) -> nn.Dense:
    """Dense layer on (b, f) features."""
    return nn.Dense(features, kernel_init=default_init(), dtype=dtype)


def num_groups(channels: int, groups: int | None = None) -> int:
    """Number of groups of a norm: `groups`, or for None the NCSN++ rule of four channels each, at most 32 groups.

    Raises:
        ConfigError: the number of groups does not divide the channels.
    """
    given = min(channels // 4, 32) if groups is None else groups
    if given < 1 or channels % given:
        rule = "min(channels // 4, 32)" if groups is None else "the DDPM model"
        multiple = "4 (of 32 above 128 channels)" if groups is None else str(groups)
        raise ConfigError(
            f"{channels} channels cannot be normalised in {given} groups ({rule}): groups must divide "
            f"channels. Choose nf and ch_mult so that every nf * mult, and every sum of two that a skip "
            f"joins, is a multiple of {multiple}."
        )
    return given


def group_norm(
    channels: int, groups: int | None = None, dtype: DTypeLike | None = None
) -> GroupNorm:
    """GroupNorm over `channels`, with `num_groups(channels, groups)` groups."""
    return GroupNorm(num_groups(channels, groups), dtype)


def layer_keys(keys: Keys | None, rate: float) -> Iterator[Keys | None]:
    """Yield dropout keys for one layer after another, endlessly: the layer's number is folded into every image's key."""
    for layer in itertools.count():
        if keys is None or rate == 0:
            yield None
        else:
            yield jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, layer)


def dropout(x: Image, rate: float, keys: Keys | None) -> Image:
    """Zeroes elements with probability `rate` and divides the others by 1 - rate.

    The mask of an image is drawn from its own key, so it does not depend on the other images, on the size of
    the batch, or on the number of devices that share it.

    Args:
        rate: probability, in [0, 1).
        keys: one PRNG key per image, or None to do nothing (evaluation).
    """
    if keys is None or rate == 0:
        return x
    # float32 on purpose: under x64 a Python float would draw float64 uniforms, and hence other masks.
    keep = jnp.float32(1 - rate)
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, keep, x.shape[1:]))(keys)
    return jnp.where(kept, x / (1 - rate), 0)


class NIN(nn.Module):
    """A dense layer applied to every pixel ("network in network"): y = x W + b."""

    features: int
    init_scale: float = 0.1
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Image) -> Float[Array, "b h w {self.features}"]:
        W = self.param(
            "W", default_init(self.init_scale), (x.shape[-1], self.features), jnp.float32
        )
        b = self.param("b", nn.initializers.zeros, (self.features,), jnp.float32)
        x, W, b = promote_dtype(x, W, b, dtype=self.dtype)
        return jnp.dot(x, W) + b[None, None, None, :]


class Conv2d(nn.Module):
    """Weight and bias of the convolution inside a FIR resampling, applied by `filtered_conv`."""

    features: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, x: Image, filtered_conv: Callable[[Array, Array], Array]
    ) -> Float[Array, "b _ _ {self.features}"]:
        shape = (3, 3, x.shape[-1], self.features)
        weight = self.param("weight", default_init(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        x, weight, bias = promote_dtype(x, weight, bias, dtype=self.dtype)
        return filtered_conv(x, weight) + bias[None, None, None, :]


class Upsample(nn.Module):
    """Doubles the resolution: FIR filtered or nearest, with a 3x3 convolution or without parameters.

    `features` (with_conv only): channels of the output; None keeps those of the input.
    """

    with_conv: bool
    fir: bool
    fir_kernel: tuple[int, ...] = (1, 3, 3, 1)
    features: int | None = None
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Image) -> Float[Array, "b 2*h 2*w _"]:
        features = self.features or x.shape[-1]
        if self.fir and self.with_conv:
            spread = functools.partial(resample.upsample_conv_2d, taps=self.fir_kernel)
            return Conv2d(features, self.dtype)(x, spread)
        if self.fir:
            return resample.upsample_2d(x, self.fir_kernel)
        if self.with_conv:
            return upsampled_conv3x3(features, dtype=self.dtype)(x)
        return resample.naive_upsample_2d(x)


class Downsample(nn.Module):
    """Halves the resolution: FIR filtered or naive, with a 3x3 convolution or without parameters.

    `features` (with_conv only): channels of the output; None keeps those of the input.
    """

    with_conv: bool
    fir: bool
    fir_kernel: tuple[int, ...] = (1, 3, 3, 1)
    features: int | None = None
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Image) -> Float[Array, "b h//2 w//2 _"]:
        features = self.features or x.shape[-1]
        if self.fir and self.with_conv:
            thin = functools.partial(resample.conv_downsample_2d, taps=self.fir_kernel)
            return Conv2d(features, self.dtype)(x, thin)
        if self.fir:
            return resample.downsample_2d(x, self.fir_kernel)
        if not self.with_conv:
            return resample.naive_downsample_2d(x)
        # One row and one column of zeros at the far end, which is what SAME means at stride 2 on even sizes.
        return nn.Conv(
            features,
            (3, 3),
            strides=(2, 2),
            padding=((0, 1), (0, 1)),
            kernel_init=default_init(),
            dtype=self.dtype,
        )(x)


class Combine(nn.Module):
    """Joins an input pyramid to the features: a 1x1 convolution of the pyramid, then a sum or a concatenation."""

    method: str
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, pyramid: Float[Array, "b h w _"], h: Image) -> Float[Array, "b h w _"]:
        y = conv1x1(h.shape[-1], dtype=self.dtype)(pyramid)
        return y + h if self.method == "sum" else jnp.concatenate([y, h], axis=-1)
