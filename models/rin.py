"""RIN (Jabri, Fleet & Chen 2022, Sec. 3) without its recurrence: a few latents read from and write to the many image tokens.

    interface   norm of a linear map of each patch, plus a learned position
    latents     [class], time, num_latents learned vectors
    blocks      read      the latents attend to the interface
                compute   latent_depth layers in which the latents attend to each other
                write     the interface attends to the latents
    head        norm and a linear map of the interface back to patches

Each attention has a residual connection, and is followed by an MLP with another. Interface tokens do not attend to each
other, so the cost grows linearly with the number of pixels and not quadratically.

Latent self-conditioning is left out: the paper initializes the latents of a sampling step from those of the previous step,
and reports better samples. Such a score depends on how its argument was reached, but the probability-flow ODE, and the
likelihood computed from it, need a function of (x, t) alone; so the latents start anew in every call. There is no dropout,
and all layers have the same number of heads and the same mlp_ratio.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Float

from score_sde.errors import ConfigError
from score_sde.models.attention import attended
from score_sde.models.conditions import ClassEmbedding, labels_or_none
from score_sde.models.dit import SMALL, XAVIER, ZERO, TimeEmbedding
from score_sde.models.layers import Image
from score_sde.models.transformer import PatchEmbedding, Perceptron, Tokens, Transformer
from score_sde.models.uvit import norm
from score_sde.options import count, option
from score_sde.shapes import Array, Keys, PerImage


class RIN(Transformer):
    """The score network RIN, whose noise input is a time label in 0 ... 1000.

    `net.apply({"params": params}, x, noise_input, condition)` -> (b, h, w, c).

    With n image tokens and l latents, attention is computed for depth (2 n l + latent_depth l^2) pairs of tokens. The label
    and the time are latents in addition to the num_latents learned ones; "no class" is a label like the others. The head is
    initialized to zero: a fresh network outputs exactly 0.
    """

    num_latents: int = option(
        128,
        "rin: learned latent tokens, in addition to those of the time and the class",
        count(2**16),
    )
    latent_width: int = option(
        768, "rin: width of a latent token; width is that of a token of the image", count(2**16, 4)
    )
    latent_depth: int = option(
        4, "rin: self-attention layers of the latents in each of depth blocks", count(1024)
    )

    def check_fits(self) -> None:
        shared = math.gcd(self.width, self.latent_width)
        if shared % self.num_heads:
            share = [n for n in range(1, shared + 1) if not shared % n]
            raise ConfigError(
                f"model.num_heads={self.num_heads} does not divide both model.width={self.width} and "
                f"model.latent_width={self.latent_width}; use one of {', '.join(map(str, share))}"
            )
        super().check_fits()

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
        latents = self._first_latents(noise_input, condition)
        embedding = PatchEmbedding(self.width, XAVIER, self._dtype, name="patch_embed")
        interface = norm("patch_norm")(embedding(self.patches(x)))
        interface = interface + self.param(
            "pos_embed", SMALL, (1, *interface.shape[1:]), jnp.float32
        )
        for block in range(self.depth):
            latents = self._layer(f"block_{block}_read", latents, interface)
            for layer in range(self.latent_depth):
                latents = self._layer(f"block_{block}_compute_{layer}", latents)
            interface = self._layer(f"block_{block}_write", interface, latents)
        # No dtype: the head stays in float32, since nothing after it corrects rounding errors.
        numbers = self.patch_size**2 * self.num_channels
        return self.image(nn.Dense(numbers, kernel_init=ZERO, name="head")(norm("norm")(interface)))

    def _first_latents(self, labels: PerImage, condition: Any) -> Tokens:
        """Tokens of class (if any) and noise level, then the learned vectors, which are the same for all images."""
        time = TimeEmbedding(self.latent_width, name="time")(labels)
        given = [self.with_levels(time, condition)]
        if self.num_classes:
            classes = ClassEmbedding(self.num_classes, self.latent_width, 0.02, name="label_emb")
            given.insert(0, classes(labels_or_none(condition, len(labels), self.num_classes)))
        shape = (1, self.num_latents, self.latent_width)
        learnt = self.param("latents", SMALL, shape, jnp.float32)
        repeated = jnp.broadcast_to(learnt, (len(labels), *shape[1:]))
        return jnp.concatenate([jnp.stack(given, axis=1), repeated], axis=1)

    def _layer(self, name: str, x: Tokens, source: Array | None = None) -> Tokens:
        hidden = int(x.shape[-1] * self.mlp_ratio)
        layer = AttentionLayer(self.num_heads, hidden, self._dtype, name=name)
        after: Tokens = self._block_call(layer)(x, source)
        return after


class AttentionLayer(nn.Module):
    """Attention from x to a source, or to x itself if there is none, then an MLP, both with residual connections.

    As in the published network, x is normalized before each of the two, and the source is used as it is.
    """

    num_heads: int
    hidden: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Tokens, source: Float[Array, "b m e"] | None = None) -> Tokens:
        normed = norm("norm1")(x)
        attention = AttentionTo(self.num_heads, self.dtype, name="attn")
        x = x + attention(normed, normed if source is None else source)
        perceptron = Perceptron(self.hidden, XAVIER, False, self.dtype, name="mlp")
        return x + perceptron(norm("norm2")(x))


class AttentionTo(nn.Module):
    """softmax(q k^T / sqrt(width of a head)) v with q from x, and k and v from a source (Vaswani et al. 2017, Eq. 1).

    The heads divide up the smaller of the two token widths.
    """

    num_heads: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Tokens, source: Float[Array, "b m e"]) -> Tokens:
        width = min(x.shape[-1], source.shape[-1])

        def of_heads(name: str, tokens: Array) -> Float[Array, "b _ heads _"]:
            of_all = nn.Dense(width, dtype=self.dtype, kernel_init=XAVIER, name=name)(tokens)
            return of_all.reshape(*tokens.shape[:2], self.num_heads, width // self.num_heads)

        mixed = attended(of_heads("q", x), of_heads("k", source), of_heads("v", source))
        out = nn.Dense(x.shape[-1], dtype=self.dtype, kernel_init=XAVIER, name="proj")
        return out(mixed.reshape(*x.shape[:2], width))
