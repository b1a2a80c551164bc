"""DINOv2's ViT-L/14 (Oquab et al. 2023), whose class token is the feature of FD-DINOv2 (Stein et al. 2023).

It is a vision transformer (Dosovitskiy et al. 2021) with residual branches scaled per channel (LayerScale, Touvron et al. 2021). Images are
preprocessed as in EDM2, whose figures most papers on diffusion models report: bicubic to 224 pixels, with antialiasing when they shrink, in
float, neither rounded nor clipped. dgm-eval, where the distance was proposed, does the same with Pillow, which rounds to levels.

Modules have the names used in the public PyTorch file, by which their weights are found (features/dinov2_weights.py).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from score_sde.errors import UserError
from score_sde.features.perceptual import DEVIATION, MEAN
from score_sde.features.resize import LevelsRGB
from score_sde.shapes import Array

SIDE = 224  # pixels
RESIZE = f"bicubic, smoothed where it is made smaller, {SIDE}x{SIDE}, as in EDM2"
PATCH = 14  # pixels
TRAINED_PLACES = (
    37  # patches per side of the 518-pixel images for which its position embedding was trained
)
WIDTH = 1024  # number of features
NORM_EPS = 1e-6
# For fewer positions the embedding is read at (i + 1/2) 37 / (16 + this) - 1/2: the original adds this so that rounding loses no position,
# and thereby shifts them all.
ADDED_PLACES = 0.1
SHARPNESS = -0.75  # the parameter a of Keys in PyTorch's bicubic interpolation
# TF32 and bfloat16 products, the default on GPUs and TPUs, would make figures depend on the machine.
PRECISION = jax.lax.Precision.HIGHEST

Tokens = Float[Array, "b n d"]


def dinov2_features(params: Any, images: LevelsRGB) -> Float[Array, "b 1024"]:
    """The class token after the last normalization, float32.

    Pure, for use under jit. All images form one batch, so the caller decides how many fit into memory.

    Args:
      params: those of `read_weights` with DINOV2.
      images: levels 0..255 as uint8, (b, h, w, 3).

    Raises:
      UserError: images are not uint8 or do not have three channels.
    """
    if images.dtype != jnp.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(
            f"DINOv2 was given {images.dtype} of shape {tuple(images.shape)}; expected levels 0..255 as uint8, (b, h, w, 3)"
        )
    found: Any = DINOv2().apply({"params": params}, preprocessed(images))
    return found


def preprocessed(images: LevelsRGB) -> Float[Array, "b 224 224 3"]:
    """Resize levels to 224x224 and standardize them by ImageNet's mean and deviation."""
    x = jnp.asarray(images).astype(jnp.float32)
    x = jax.image.resize(x, (len(x), SIDE, SIDE, 3), "cubic", antialias=True, precision=PRECISION)
    mean, deviation = (jnp.asarray(of)[None, None, None] for of in (MEAN, DEVIATION))
    return (x / 255.0 - mean) / deviation


class DINOv2(nn.Module):
    """The network from preprocessed images to the class token; the default sizes are those of ViT-L."""

    width: int = WIDTH
    depth: int = 24
    heads: int = 16

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b d"]:
        x = Patches(self.width, name="patch_embed")(x)
        class_token = self.param("cls_token", nn.initializers.zeros, (1, 1, self.width))
        positions = self.param(
            "pos_embed", nn.initializers.zeros, (1, 1 + TRAINED_PLACES**2, self.width)
        )
        tokens = x.reshape(len(x), -1, self.width) + moved(positions[0, 1:], x.shape[1:3])[None]
        first = class_token + positions[:, :1]
        x = jnp.concatenate([jnp.broadcast_to(first, (len(x), 1, self.width)), tokens], axis=1)
        for i in range(self.depth):
            x = Block(self.heads, name=f"blocks.{i}")(x)
        return norm("norm")(x[:, 0])


class Patches(nn.Module):
    """Embed each patch of PATCH x PATCH pixels as a token."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b h w d"]:
        side = (PATCH, PATCH)
        return nn.Conv(self.width, side, side, "VALID", precision=PRECISION, name="proj")(x)


class Block(nn.Module):
    """A transformer block: attention and a perceptron, each as a scaled residual branch."""

    heads: int

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        x = x + Scale(name="ls1")(Attention(self.heads, name="attn")(norm("norm1")(x)))
        return x + Scale(name="ls2")(Perceptron(name="mlp")(norm("norm2")(x)))


class Attention(nn.Module):
    """Multi-head attention softmax(q.k / sqrt(d)) v, with q, k and v from one dense layer."""

    heads: int

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        width = x.shape[-1]
        each = dense(3 * width, "qkv")(x).reshape(*x.shape[:2], 3, self.heads, width // self.heads)
        q, k, v = (each[:, :, i] for i in range(3))
        alike = jnp.einsum("bqhd,bkhd->bhqk", q, k, precision=PRECISION)
        weights = nn.softmax(alike * (width // self.heads) ** -0.5)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v, precision=PRECISION)
        return dense(width, "proj")(mixed.reshape(x.shape))


class Perceptron(nn.Module):
    """Two dense layers with a hidden width of four times the input's, and the exact GELU."""

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        width = x.shape[-1]
        return dense(width, "fc2")(nn.gelu(dense(4 * width, "fc1")(x), approximate=False))


class Scale(nn.Module):
    """LayerScale: a learned factor for each channel."""

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        return x * self.param("gamma", nn.initializers.ones, x.shape[-1:])[None, None]


def norm(name: str) -> nn.LayerNorm:
    """A layer norm as in the published network."""
    return nn.LayerNorm(NORM_EPS, use_fast_variance=False, name=name)


def dense(features: int, name: str) -> nn.Dense:
    """A dense layer in full float32."""
    return nn.Dense(features, precision=PRECISION, name=name)


def moved(embedding: Float[Array, "p d"], places: tuple[int, ...]) -> Float[Array, "n d"]:
    """Interpolate the TRAINED_PLACES^2 position embeddings to this number of rows and columns, as PyTorch does by a scale factor."""
    square = embedding.reshape(TRAINED_PLACES, TRAINED_PLACES, -1)
    rows, columns = (jnp.asarray(weights(TRAINED_PLACES, after)) for after in places)
    found = jnp.einsum("ip,jq,pqd->ijd", rows, columns, square, precision=PRECISION)
    return found.reshape(-1, embedding.shape[-1])


def weights(before: int, after: int) -> np.ndarray:
    """The matrix (after, before) of one-dimensional bicubic interpolation: four weights per row, those beyond an end added to it."""
    if before == after:
        return np.eye(before, dtype=np.float32)
    position = (np.arange(after) + 0.5) * before / (after + ADDED_PLACES) - 0.5
    found = np.zeros((after, before))
    for offset in range(-1, 3):
        place = np.floor(position).astype(int) + offset
        np.add.at(
            found,
            (np.arange(after), np.clip(place, 0, before - 1)),
            cubic(np.abs(position - place)),
        )
    return found.astype(np.float32)


def cubic(distance: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel for distances in [0, 2] (Keys 1981, eq. 11, with a = SHARPNESS instead of -1/2)."""
    a, s = SHARPNESS, distance
    near = (a + 2) * s**3 - (a + 3) * s**2 + 1
    far = a * (s**3 - 5 * s**2 + 8 * s - 4)
    return np.where(s <= 1, near, far)
