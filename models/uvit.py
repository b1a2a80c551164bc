"""U-ViT (Bao et al. 2023): time, class and patches are all tokens, and long skips connect early blocks to late ones.

tokens      [class], time, patches, plus a learned position for each
blocks      depth // 2, one in the middle, depth // 2; each of the latter first concatenates its input with the output of
            its mirror image, and applies a linear map
head        norm, a linear map back to patches and, with `final_conv`, a 3x3 convolution of the image
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from score_sde.errors import ConfigError
from score_sde.models.conditions import ClassEmbedding, labels_or_none
from score_sde.models.embeddings import time_features
from score_sde.models.layers import Features, Image
from score_sde.models.published import StateDict
from score_sde.models.transformer import Attention, PatchEmbedding, Perceptron, Tokens, Transformer
from score_sde.options import option
from score_sde.shapes import Array, Keys, PerImage

SMALL = nn.initializers.normal(0.02)
# Uniform within 1/sqrt(fan_in): PyTorch's default for convolutions, with which the published networks were initialized.
BY_INPUTS = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class UViT(Transformer):
    """The score network U-ViT, without dropout. `net.apply({"params": params}, x, noise_input, condition)` -> (b, h, w, c).

    A label is a token; "no class" is a label like the others, learned with training.label_dropout.
    """

    qkv_bias: bool = option(False, "uvit: biases in the projections to queries, keys and values")
    time_mlp: bool = option(
        False,
        "uvit: the token of the time goes through an MLP; False: it is the sinusoids themselves",
    )
    final_conv: bool = option(True, "uvit: end with a 3x3 convolution of the image")

    def check_fits(self) -> None:
        super().check_fits()
        if self.width % 2:
            raise ConfigError(
                f"model.width={self.width}: half of the time's features are sines, half cosines; use an even number"
            )

    @nn.compact
    def __call__(
        self,
        x: Image,
        noise_input: Array,
        condition: Any = (),
        dropout_keys: Keys | None = None,
    ) -> Image:
        """The raw output of the network; arguments and result as in `NCSNpp.__call__`."""
        x, noise_input = self.inputs(x, noise_input, condition)
        tokens = jnp.stack(self._conditioning(noise_input, condition), axis=1)
        embedding = PatchEmbedding(self.width, BY_INPUTS, self._dtype, name="patch_embed")
        h = jnp.concatenate([tokens, embedding(self.patches(x))], axis=1)
        h = h + self.param("pos_embed", SMALL, (1, *h.shape[1:]), jnp.float32)
        h = self._blocks(h)[:, tokens.shape[1] :]

        # No dtype: the head stays in float32, since nothing after it corrects rounding errors.
        numbers = self.patch_size**2 * self.num_channels
        image = self.image(
            nn.Dense(numbers, kernel_init=SMALL, name="decoder_pred")(norm("norm")(h))
        )
        if not self.final_conv:
            return image
        return nn.Conv(self.num_channels, (3, 3), kernel_init=BY_INPUTS, name="final_layer")(image)

    @property
    def state_dict(self) -> StateDict:
        """The published state dict, in which patches are embedded by a convolution."""
        return StateDict(
            convolutions={"patch_embed.proj": (self.patch_size, self.patch_size)},
            classes="label_emb.weight",
        )

    def _conditioning(self, labels: PerImage, condition: Any) -> list[Features]:
        """The class token, if there are classes, and the time token."""
        time = time_features(labels, self.width)
        if self.time_mlp:
            hidden = nn.Dense(4 * self.width, kernel_init=SMALL, name="time_embed_0")(time)
            time = nn.Dense(self.width, kernel_init=SMALL, name="time_embed_2")(nn.silu(hidden))
        time = self.with_levels(time, condition)
        if not self.num_classes:
            return [time]
        classes = ClassEmbedding(self.num_classes, self.width, name="label_emb")
        return [classes(labels_or_none(condition, len(labels), self.num_classes)), time]

    def _blocks(self, h: Tokens) -> Tokens:
        skips = []
        for block in range(self.depth // 2):
            h = self._block_call(self._block(f"in_blocks_{block}"))(h)
            skips.append(h)
        h = self._block_call(self._block("mid_block"))(h)
        for block in range(self.depth // 2):
            h = self._block_call(self._block(f"out_blocks_{block}"))(h, skips.pop())
        return h

    def _block(self, name: str) -> UViTBlock:
        hidden = int(self.width * self.mlp_ratio)
        return UViTBlock(self.num_heads, hidden, self.qkv_bias, self._dtype, name=name)


class UViTBlock(nn.Module):
    """Attention and an MLP, both with residual connections; a skip, if given, is first merged with the input."""

    num_heads: int
    hidden: int
    qkv_bias: bool
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Tokens, skip: Tokens | None = None) -> Tokens:
        if skip is not None:
            joined = jnp.concatenate([x, skip], axis=-1)
            merged = nn.Dense(x.shape[-1], dtype=self.dtype, kernel_init=SMALL, name="skip_linear")
            x = merged(joined).astype(joined.dtype)  # the sum of all blocks stays in float32
        attention = Attention(self.num_heads, SMALL, self.qkv_bias, self.dtype, name="attn")
        perceptron = Perceptron(self.hidden, SMALL, False, self.dtype, name="mlp")
        x = x + attention(norm("norm1")(x))
        return x + perceptron(norm("norm2")(x))


def norm(name: str) -> nn.LayerNorm:
    """The layer norm of the published network."""
    return nn.LayerNorm(1e-5, use_fast_variance=False, name=name)
