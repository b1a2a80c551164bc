"""DiT, the diffusion transformer (Peebles & Xie 2023): every block is shifted, scaled and gated by the condition.

    tokens      a linear map of each patch, plus fixed positional embeddings
    condition   an MLP of the time's sinusoids, plus a class embedding
    blocks      x + gate1 attention((1 + scale1) norm(x) + shift1), then the same with an MLP: adaLN-Zero (Sec. 3.2)
    head        norm, scaled and shifted, and a linear map back to patches

Gates and head are initialized to zero: a fresh network outputs exactly 0.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Float

from score_sde.data.image_shape import sides
from score_sde.errors import ConfigError
from score_sde.models.conditions import with_class
from score_sde.models.embeddings import time_features
from score_sde.models.layers import Features, Image, Other
from score_sde.models.published import StateDict
from score_sde.models.transformer import (
    Attention,
    PatchEmbedding,
    Patches,
    Perceptron,
    Tokens,
    Transformer,
)
from score_sde.options import option
from score_sde.shapes import Array, Keys

TIME_FEATURES = 256  # for every width
XAVIER = nn.initializers.xavier_uniform()
SMALL = nn.initializers.normal(0.02)
ZERO = nn.initializers.zeros


class DiT(Transformer):
    """The score network DiT, without dropout. `net.apply({"params": params}, x, noise_input, condition)` -> (b, h, w, c).

    The class embedding is trained with training.label_dropout, in place of the published class_dropout_prob.
    """

    learned_variance: bool = option(
        False,
        "dit, adm, edm_unet, edm_adm: twice the output channels, the second half for the variances of a chain's steps, which the hybrid "
        "loss trains (training.continuous=False)",
    )

    def check_fits(self) -> None:
        super().check_fits()
        if self.width % 4:
            raise ConfigError(
                f"model.width={self.width}: DiT's table of positions has sines and cosines of two axes; use a multiple of 4"
            )

    @nn.compact
    def __call__(
        self,
        x: Image,
        noise_input: Array,
        condition: Any = (),
        dropout_keys: Keys | None = None,
    ) -> Other:
        """The raw output of the network; arguments and result as in `NCSNpp.__call__`."""
        x, noise_input = self.inputs(x, noise_input, condition)
        time = TimeEmbedding(self.width, name="t_embedder")(noise_input)
        given: Any = with_class(time, condition, self.num_classes, 0.02, "y_embedder")
        given = self.with_levels(given, condition)

        embedding = PatchEmbedding(self.width, XAVIER, self._dtype, name="x_embedder")
        h = embedding(self.patches(x)) + jnp.asarray(self._positions(), x.dtype)[None]
        hidden = int(self.width * self.mlp_ratio)
        for block in range(self.depth):
            layer = DiTBlock(self.num_heads, hidden, self._dtype, name=f"blocks_{block}")
            h = self._block_call(layer)(h, given)
        numbers = self.patch_size**2 * self.num_channels * (1 + self.learned_variance)
        return self.image(Head(numbers, name="final_layer")(h, given))

    @property
    def state_dict(self) -> StateDict:
        """The published state dict, in which patches are embedded by a convolution, and positional embeddings are stored."""
        return StateDict(
            convolutions={"x_embedder.proj": (self.patch_size, self.patch_size)},
            constants={"pos_embed": self._positions()[None]},
            classes="y_embedder.embedding_table.weight",
        )

    def _positions(self) -> np.ndarray:
        h, w = sides(self.image_size, self.image_width)
        return position_table(h // self.patch_size, w // self.patch_size, self.width)


class TimeEmbedding(nn.Module):
    """An MLP of the time's sinusoids."""

    width: int

    @nn.compact
    def __call__(self, labels: Array) -> Features:
        features = time_features(labels, TIME_FEATURES)
        hidden = nn.Dense(self.width, kernel_init=SMALL, name="mlp_0")(features)
        return nn.Dense(self.width, kernel_init=SMALL, name="mlp_2")(nn.silu(hidden))


class Modulation(nn.Module):
    """Map the condition (b, w) to a list of `vectors` modulation vectors, each (b, 1, w)."""

    vectors: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, condition: Features) -> list[Float[Array, "b 1 _"]]:
        features = self.vectors * condition.shape[-1]
        layer = nn.Dense(features, dtype=self.dtype, kernel_init=ZERO, name="1")
        return jnp.split(layer(nn.silu(condition))[:, None], self.vectors, axis=-1)


class DiTBlock(nn.Module):
    """Attention and an MLP, each modulated by the condition and added through a gate."""

    num_heads: int
    hidden: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Tokens, condition: Features) -> Tokens:
        modulation = Modulation(6, self.dtype, name="adaLN_modulation")
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation(condition)
        attention = Attention(self.num_heads, XAVIER, dtype=self.dtype, name="attn")
        perceptron = Perceptron(self.hidden, XAVIER, True, self.dtype, name="mlp")
        x = x + gate1 * attention(plain_norm(x) * (1 + scale1) + shift1)
        return x + gate2 * perceptron(plain_norm(x) * (1 + scale2) + shift2)


class Head(nn.Module):
    """Map each token to the `numbers` of its patch, always in float32, since nothing after it corrects rounding errors."""

    numbers: int

    @nn.compact
    def __call__(self, x: Tokens, condition: Features) -> Patches:
        shift, scale = Modulation(2, name="adaLN_modulation")(condition)
        x = plain_norm(x) * (1 + scale) + shift
        return nn.Dense(self.numbers, kernel_init=ZERO, name="linear")(x)


def plain_norm(x: Tokens) -> Tokens:
    """LayerNorm without parameters."""
    norm = nn.LayerNorm(1e-6, use_bias=False, use_scale=False, use_fast_variance=False, parent=None)
    normalized: Any = norm.apply({}, x)
    return normalized


def position_table(rows: int, columns: int, width: int) -> Float[np.ndarray, "n {width}"]:
    """Sinusoidal positional embeddings of each token: its column in the first half of the width, its row in the second.

    Each half is [sin(p omega), cos(p omega)], omega_j = 10000^(-j / (width / 4)), at position p = 0, 1, 2, ...
    """
    frequencies = 10_000.0 ** (-np.arange(width // 4) / (width / 4))
    row, column = (axis.reshape(-1, 1) for axis in np.indices((rows, columns)))
    halves = [f(axis * frequencies) for axis in (column, row) for f in (np.sin, np.cos)]
    return np.concatenate(halves, axis=1)
