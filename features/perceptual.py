"""LPIPS, a perceptual distance between images, and its networks, AlexNet and VGG16 trained on ImageNet.

d(a, b) = sum over layers l of the mean over positions of sum_c w_lc (f_lc(a) - f_lc(b))^2, where f_l are the layer's maps, normalized to unit
length over channels at each position, and w_l >= 0 is fitted to human judgements (Zhang et al. 2018, eq. 1). The features of a single image
are the means over positions of the last layer's maps: 256 for AlexNet, 512 for VGG16.

Layers are numbered as in the package that provides their weights (features/perceptual_weights.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from score_sde.features.resize import LevelsRGB
from score_sde.shapes import Array

# Mean and standard deviation of ImageNet's colours, in [0, 1].
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 64  # pixels; AlexNet's strides would leave nothing of smaller images
RESIZE = f"bilinear, half-pixel centres, shorter side to {SIDE} where it is less"
TINY = 1e-10  # added to lengths
# TF32 and bfloat16 products, the default on GPUs and TPUs, would make figures depend on the machine.
PRECISION = jax.lax.Precision.HIGHEST

Maps = Float[Array, "b h w c"]


class Convolution(NamedTuple):
    """A convolution of a published network: output channels, kernel size, padding and stride."""

    channels: int
    kernel: int
    pad: int
    stride: int = 1


class Pool(NamedTuple):
    """A max pool over squares of this side, with stride 2."""

    side: int


class Network(NamedTuple):
    """A published network: convolutions, each followed by a ReLU, with pools in between."""

    module: str
    """Prefix of the names of its arrays in the package."""
    layers: tuple[Convolution | Pool, ...]
    compared: tuple[int, ...]
    """Indices of the convolutions whose rectified maps LPIPS compares; the last one gives the features."""

    @property
    def convolutions(self) -> list[Convolution]:
        return [layer for layer in self.layers if isinstance(layer, Convolution)]

    @property
    def dimension(self) -> int:
        """Number of features."""
        return self.convolutions[self.compared[-1]].channels

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the package's arrays."""
        shapes: dict[str, tuple[int, ...]] = {}
        before = 3
        for i, (channels, kernel, *_) in enumerate(self.convolutions):
            shapes[f"{self.module}/Conv_{i}/kernel"] = (kernel, kernel, before, channels)
            shapes[f"{self.module}/Conv_{i}/bias"] = (channels,)
            before = channels
        for i, layer in enumerate(self.compared):
            shapes[head(i)] = (1, 1, self.convolutions[layer].channels, 1)
        return shapes


def head(i: int) -> str:
    """Name of the LPIPS weights of compared layer i."""
    return f"NetLinLayer_{i}/Conv_0/kernel"


def threes(*channels: int) -> list[Convolution]:
    """3x3 convolutions with these numbers of channels."""
    return [Convolution(number, 3, 1) for number in channels]


# Krizhevsky 2014 (one column) and Simonyan and Zisserman 2015, configuration D, up to their last convolutions.
PERCEPTUAL: dict[str, Network] = {
    "alexnet": Network(
        "AlexNet_0",
        (
            Convolution(64, 11, 2, 4), Pool(3), Convolution(192, 5, 2), Pool(3),
            *threes(384, 256, 256),
        ),
        (0, 1, 2, 3, 4),
    ),
    "vgg16": Network(
        "VGG16_0",
        (
            *threes(64, 64), Pool(2), *threes(128, 128), Pool(2), *threes(256, 256, 256),
            Pool(2), *threes(512, 512, 512), Pool(2), *threes(512, 512, 512),
        ),
        (1, 3, 6, 9, 12),
    ),
}  # fmt: skip


def perceptual_features(
    name: str, params: dict[str, Array], images: LevelsRGB
) -> Float[Array, "b d"]:
    """Means over positions of the last layer's maps, float32.

    Args:
      name: a key of PERCEPTUAL.
      params: those of `load_perceptual`.
      images: levels 0..255, (b, h, w, 3).
    """
    return compared_maps(PERCEPTUAL[name], params, preprocessed(images))[-1].mean(axis=(1, 2))


def perceptual_distance(
    name: str, params: dict[str, Array], a: LevelsRGB, b: LevelsRGB
) -> Float[Array, " b"]:
    """LPIPS between a[i] and b[i] for each i; arguments are those of `perceptual_features`."""
    network = PERCEPTUAL[name]
    maps = (compared_maps(network, params, preprocessed(x)) for x in (a, b))
    total = jnp.zeros(len(a))
    for i, (of_a, of_b) in enumerate(zip(*maps, strict=True)):
        apart = jnp.square(unit_length(of_a) - unit_length(of_b))
        weighed = jnp.einsum("bhwc,c->bhw", apart, params[head(i)].ravel(), precision=PRECISION)
        total += weighed.mean(axis=(1, 2))
    return total


def preprocessed(images: LevelsRGB) -> Maps:
    """Enlarge images to at least SIDE pixels per side, and standardize them by ImageNet's mean and deviation."""
    x = jnp.asarray(images).astype(jnp.float32) / 255.0
    height, width = x.shape[1:3]
    least = min(height, width)
    if least < SIDE:
        larger = (math.ceil(side * SIDE / least) for side in (height, width))
        x = jax.image.resize(x, (len(x), *larger, 3), "bilinear", precision=PRECISION)
    mean, deviation = (jnp.asarray(of)[None, None, None] for of in (MEAN, DEVIATION))
    return (x - mean) / deviation


def compared_maps(network: Network, params: dict[str, Array], x: Maps) -> Sequence[Maps]:
    """The rectified maps of the layers that LPIPS compares."""
    maps: list[Maps] = []
    for layer in network.layers:
        if isinstance(layer, Pool):
            x = nn.max_pool(x, (layer.side, layer.side), (2, 2))
        else:
            x = nn.relu(convolved(x, layer, params, f"{network.module}/Conv_{len(maps)}"))
            maps.append(x)
    return [maps[i] for i in network.compared]


def convolved(x: Maps, layer: Convolution, params: dict[str, Array], name: str) -> Maps:
    """Apply one convolution of the network."""
    found = jax.lax.conv_general_dilated(
        x,
        params[f"{name}/kernel"],
        (layer.stride, layer.stride),
        [(layer.pad, layer.pad)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=PRECISION,
    )
    return found + params[f"{name}/bias"][None, None, None]


def unit_length(maps: Maps) -> Maps:
    """Normalize maps to unit length over channels at each position."""
    return maps / (jnp.linalg.norm(maps, axis=-1, keepdims=True) + TINY)
