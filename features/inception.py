"""The InceptionV3 that defines FID: TensorFlow's graph of 2015-12-05, not torchvision's version of Szegedy et al. 2016.

The graph differs from torchvision's in details: average pools divide by the number of pixels inside the image, the last block has a max
pool where the previous one has an average pool, there are 1008 outputs, and images are scaled to (level - 128) / 128.

Modules have the names used in the public PyTorch file, by which their weights are found (features/inception_weights.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from score_sde.errors import UserError
from score_sde.features.resize import LevelsRGB, resized
from score_sde.shapes import Array

SIDE = 299  # pixels per side of the images that it was trained on
POOLED = 2048  # number of features
OUTPUTS = 1008
BATCH_NORM_EPS = 1e-3
# TF32 and bfloat16 products, the default on GPUs and TPUs, would make FID depend on the machine.
PRECISION = jax.lax.Precision.HIGHEST

Maps = Float[Array, "b h w c"]
Pool = Callable[[Maps], Maps]


class InceptionFeatures(NamedTuple):
    """Outputs of InceptionV3 for n images, float32."""

    pooled: Float[Array, "n 2048"]  # means over positions after the last block, for FID and KID
    logits: Float[
        Array, "n 1008"
    ]  # without the bias of the last layer (called `logits_unbiased` elsewhere), for IS
    after_768: Float[Array, "n 768"]  # means over positions after block 6e
    after_192: Float[Array, "n 192"]  # means over positions after the second max pool
    after_64: Float[Array, "n 64"]  # means over positions after the first max pool


def inception_features(params: Any, images: LevelsRGB) -> InceptionFeatures:
    """The features by which FID, KID and IS compare images.

    Pure, for use under jit. All images form one batch, so the caller decides how many fit into memory.

    Args:
      params: those of `load_inception`.
      images: levels 0..255 as uint8, (n, h, w, 3); convert grey images by `as_rgb` first.

    Raises:
      UserError: images are not uint8 or do not have three channels.
    """
    if images.dtype != jnp.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(
            f"Inception was given {images.dtype} of shape {tuple(images.shape)}; expected levels 0..255 as uint8, (n, h, w, 3)"
        )
    features: Any = InceptionV3().apply({"params": params}, preprocessed(images))
    return features


def as_rgb(images: Any) -> Any:
    """Convert images (n, h, w, c) with one or three channels to three; grey is repeated.

    Raises:
      UserError: another number of channels.
    """
    channels = images.shape[-1]
    if images.ndim != 4 or channels not in (1, 3):
        raise UserError(
            f"Inception sees colour: images of shape {tuple(images.shape)} have neither one channel, which would be repeated, nor three"
        )
    return jnp.repeat(images, 3, axis=-1) if channels == 1 else images


def preprocessed(images: LevelsRGB) -> Float[Array, "b 299 299 3"]:
    """The input of the network: resized to 299x299, in [-1, 127/128]."""
    return (resized(images, SIDE) - 128.0) / 128.0


class InceptionV3(nn.Module):
    """The network from preprocessed images to features. Its weights are meant to be read from a file; it is initialized with zeros."""

    @nn.compact
    def __call__(self, x: Float[Array, "b 299 299 3"]) -> InceptionFeatures:
        x = Unit(32, (3, 3), 2, "VALID", name="Conv2d_1a_3x3")(x)
        x = Unit(32, (3, 3), padding="VALID", name="Conv2d_2a_3x3")(x)
        x = Unit(64, (3, 3), name="Conv2d_2b_3x3")(x)
        first = x = halved(x)
        x = Unit(80, name="Conv2d_3b_1x1")(x)
        x = Unit(192, (3, 3), padding="VALID", name="Conv2d_4a_3x3")(x)
        second = x = halved(x)
        for letter, of_pool in zip("bcd", (32, 64, 64), strict=True):
            x = Block35(of_pool, name=f"Mixed_5{letter}")(x)
        x = To17(name="Mixed_6a")(x)
        for letter, width in zip("bcde", (128, 160, 160, 192), strict=True):
            x = Block17(width, name=f"Mixed_6{letter}")(x)
        third = x
        x = To8(name="Mixed_7a")(x)
        x = Block8(mean_around, name="Mixed_7b")(x)
        x = Block8(most_around, name="Mixed_7c")(x)
        pooled = over_positions(x)
        logits = nn.Dense(
            OUTPUTS,
            use_bias=False,
            precision=PRECISION,
            kernel_init=nn.initializers.zeros,
            name="fc",
        )(pooled)
        return InceptionFeatures(pooled, logits, *map(over_positions, (third, second, first)))


class Unit(nn.Module):
    """Convolution, batch normalization with stored statistics, ReLU."""

    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        stride = (self.stride, self.stride)
        conv = nn.Conv(
            self.channels,
            self.kernel,
            stride,
            self.padding,
            use_bias=False,
            precision=PRECISION,
            kernel_init=nn.initializers.zeros,
            name="conv",
        )
        return nn.relu(StoredNorm(name="bn")(conv(x)))


class StoredNorm(nn.Module):
    """Batch normalization scale (x - mean) / sqrt(var + eps) + bias, with all four parameters from training."""

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        def stored(name: str, init: nn.initializers.Initializer) -> Array:
            return self.param(name, init, (x.shape[-1],))[None, None, None]

        mean, bias = (stored(name, nn.initializers.zeros) for name in ("mean", "bias"))
        var, scale = (stored(name, nn.initializers.ones) for name in ("var", "scale"))
        return (x - mean) * (scale * jax.lax.rsqrt(var + BATCH_NORM_EPS)) + bias


class Block35(nn.Module):
    """A block at 35x35 positions: 224 channels plus those of the pool branch."""

    of_pool: int

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        five = Unit(48, name="branch5x5_1")(x)
        five = Unit(64, (5, 5), name="branch5x5_2")(five)
        double = Unit(64, name="branch3x3dbl_1")(x)
        double = Unit(96, (3, 3), name="branch3x3dbl_2")(double)
        double = Unit(96, (3, 3), name="branch3x3dbl_3")(double)
        pool = Unit(self.of_pool, name="branch_pool")(mean_around(x))
        return joined(Unit(64, name="branch1x1")(x), five, double, pool)


class To17(nn.Module):
    """Downsample from 35x35 to 17x17 positions, adding 480 channels."""

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        double = Unit(64, name="branch3x3dbl_1")(x)
        double = Unit(96, (3, 3), name="branch3x3dbl_2")(double)
        double = Unit(96, (3, 3), 2, "VALID", name="branch3x3dbl_3")(double)
        return joined(Unit(384, (3, 3), 2, "VALID", name="branch3x3")(x), double, halved(x))


class Block17(nn.Module):
    """A block at 17x17 positions with factorized 7x7 convolutions, one axis after the other; 768 channels."""

    width: int  # inside the branches

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        seven = Unit(self.width, name="branch7x7_1")(x)
        seven = Unit(self.width, (1, 7), name="branch7x7_2")(seven)
        seven = Unit(192, (7, 1), name="branch7x7_3")(seven)
        double = Unit(self.width, name="branch7x7dbl_1")(x)
        double = Unit(self.width, (7, 1), name="branch7x7dbl_2")(double)
        double = Unit(self.width, (1, 7), name="branch7x7dbl_3")(double)
        double = Unit(self.width, (7, 1), name="branch7x7dbl_4")(double)
        double = Unit(192, (1, 7), name="branch7x7dbl_5")(double)
        pool = Unit(192, name="branch_pool")(mean_around(x))
        return joined(Unit(192, name="branch1x1")(x), seven, double, pool)


class To8(nn.Module):
    """Downsample from 17x17 to 8x8 positions, adding 512 channels."""

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        three = Unit(192, name="branch3x3_1")(x)
        three = Unit(320, (3, 3), 2, "VALID", name="branch3x3_2")(three)
        seven = Unit(192, name="branch7x7x3_1")(x)
        seven = Unit(192, (1, 7), name="branch7x7x3_2")(seven)
        seven = Unit(192, (7, 1), name="branch7x7x3_3")(seven)
        seven = Unit(192, (3, 3), 2, "VALID", name="branch7x7x3_4")(seven)
        return joined(three, seven, halved(x))


class Block8(nn.Module):
    """A block at 8x8 positions with 3x3 convolutions split into parallel ones along each axis; 2048 channels."""

    pool: Pool

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        three = Unit(384, name="branch3x3_1")(x)
        along = Unit(384, (1, 3), name="branch3x3_2a")(three)
        across = Unit(384, (3, 1), name="branch3x3_2b")(three)
        double = Unit(448, name="branch3x3dbl_1")(x)
        double = Unit(384, (3, 3), name="branch3x3dbl_2")(double)
        double_along = Unit(384, (1, 3), name="branch3x3dbl_3a")(double)
        double_across = Unit(384, (3, 1), name="branch3x3dbl_3b")(double)
        pool = Unit(192, name="branch_pool")(self.pool(x))
        return joined(
            Unit(320, name="branch1x1")(x), along, across, double_along, double_across, pool
        )


def mean_around(x: Maps) -> Maps:
    """Mean over each position's 3x3 neighbourhood, counting only positions inside the image."""
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def most_around(x: Maps) -> Maps:
    """Maximum over each position's 3x3 neighbourhood."""
    return nn.max_pool(x, (3, 3), padding="SAME")


def halved(x: Maps) -> Maps:
    """3x3 max pool with stride 2."""
    return nn.max_pool(x, (3, 3), (2, 2))


def joined(*branches: Maps) -> Maps:
    """Concatenate the branches of a block along the channels."""
    return jnp.concatenate(branches, axis=-1)


def over_positions(x: Maps) -> Float[Array, "b c"]:
    """The mean over all positions."""
    return x.mean(axis=(1, 2))
