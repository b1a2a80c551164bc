"""DINOv2's ViT-L/14 (Oquab et al. 2023), whose class token is what FD-DINOv2 compares (Stein et al. 2023).

A vision transformer (Dosovitskiy et al. 2021) whose residual branches are scaled channel by channel (LayerScale, Touvron et al. 2021). Images
are prepared as in EDM2, whose figures most papers on diffusion models print: bicubic to 224 pixels, smoothed where they become smaller, in float
and neither rounded nor clipped. dgm-eval, where the distance was proposed, has Pillow do the same, which rounds to levels.

Modules bear the names of the public PyTorch file, by which its weights are found (features/dinov2_weights.py).
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
    37  # patches a side, of the images of 518 pixels that its position embedding is for
)
WIDTH = 1024  # features
NORM_EPS = 1e-6
# The embedding of fewer places is read at (i + 1/2) 37 / (16 + this) - 1/2: the original adds it so that no rounding loses a place, and moves
# them all by it.
ADDED_PLACES = 0.1
SHARPNESS = -0.75  # Keys's a, of PyTorch's bicubic interpolation
# TF32 and bfloat16 products, which GPUs and TPUs take by default, would make figures depend on the machine.
PRECISION = jax.lax.Precision.HIGHEST

Tokens = Float[Array, "b n d"]


def dinov2_features(params: Any, images: LevelsRGB) -> Float[Array, "b 1024"]:
    """The class token after the last normalization, float32.

    Pure and jit-able; all images are in one batch, so that the caller says how many fit into memory.

    Args:
      params: of `read_weights` with DINOV2.
      images: levels 0..255 as uint8, (b, h, w, 3).

    Raises:
      UserError: numbers that are not uint8, or not three channels.
    """
    if images.dtype != jnp.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(
            f"DINOv2 was given {images.dtype} of shape {tuple(images.shape)}; expected levels 0..255 as uint8, (b, h, w, 3)"
        )
    found: Any = DINOv2().apply({"params": params}, preprocessed(images))
    return found


def preprocessed(images: LevelsRGB) -> Float[Array, "b 224 224 3"]:
    """In units of ImageNet's deviations."""
    x = jnp.asarray(images).astype(jnp.float32)
    x = jax.image.resize(x, (len(x), SIDE, SIDE, 3), "cubic", antialias=True, precision=PRECISION)
    mean, deviation = (jnp.asarray(of)[None, None, None] for of in (MEAN, DEVIATION))
    return (x / 255.0 - mean) / deviation


class DINOv2(nn.Module):
    """Preprocessed images -> the class token; its own sizes are ViT-L's."""

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
    """A token for each square of PATCH pixels."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b h w d"]:
        side = (PATCH, PATCH)
        return nn.Conv(self.width, side, side, "VALID", precision=PRECISION, name="proj")(x)


class Block(nn.Module):
    """Attention and two dense layers, each scaled and added to what it is given."""

    heads: int

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        x = x + Scale(name="ls1")(Attention(self.heads, name="attn")(norm("norm1")(x)))
        return x + Scale(name="ls2")(Perceptron(name="mlp")(norm("norm2")(x)))


class Attention(nn.Module):
    """softmax(q.k / sqrt(d)) v of each head, all from one dense layer."""

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
    """Four times as wide in the middle, with the exact Gaussian error linear unit."""

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        width = x.shape[-1]
        return dense(width, "fc2")(nn.gelu(dense(4 * width, "fc1")(x), approximate=False))


class Scale(nn.Module):
    """LayerScale: a factor for each channel."""

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        return x * self.param("gamma", nn.initializers.ones, x.shape[-1:])[None, None]


def norm(name: str) -> nn.LayerNorm:
    """The layer norm of the published network."""
    return nn.LayerNorm(NORM_EPS, use_fast_variance=False, name=name)


def dense(features: int, name: str) -> nn.Dense:
    """A dense layer in full float32."""
    return nn.Dense(features, precision=PRECISION, name=name)


def moved(embedding: Float[Array, "p d"], places: tuple[int, ...]) -> Float[Array, "n d"]:
    """The embeddings of TRAINED_PLACES squared positions at these rows and columns of others, as PyTorch interpolates by a scale factor."""
    square = embedding.reshape(TRAINED_PLACES, TRAINED_PLACES, -1)
    rows, columns = (jnp.asarray(weights(TRAINED_PLACES, after)) for after in places)
    found = jnp.einsum("ip,jq,pqd->ijd", rows, columns, square, precision=PRECISION)
    return found.reshape(-1, embedding.shape[-1])


def weights(before: int, after: int) -> np.ndarray:
    """(after, before): of bicubic interpolation of a line, four in each row, those beyond an end added to the end's."""
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
    """The kernel of cubic convolution (Keys 1981, eq. 11, with a in place of its -1/2), distances in [0, 2]."""
    a, s = SHARPNESS, distance
    near = (a + 2) * s**3 - (a + 3) * s**2 + 1
    far = a * (s**3 - 5 * s**2 + 8 * s - 4)
    return np.where(s <= 1, near, far)
