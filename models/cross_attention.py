"""Cross-attention from pixels to the words of a text (Vaswani et al. 2017, Eq. 1; as in Rombach et al. 2022, Sec. 3.3).

    y = x + W_o softmax(Q K^T / sqrt(d)) V,    Q = W_q norm(x) for the pixels,    K = W_k e,  V = W_v e for the word vectors e

The softmax runs over actual words: padding has weight 0, and without any word the sum is 0. W_o is initialized to exactly 0
and has no bias, so a fresh network, or any network given no words, equals the network without this block, to the bit: this
is the unconditional score that classifier-free guidance needs.

Words have no positions: a text is the multiset of its words, and their order makes no difference.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from score_sde.errors import ConfigError
from score_sde.models import layers
from score_sde.models.embeddings import looked_up
from score_sde.shapes import Array

MOST_WORDS = 2**16


class Text(NamedTuple):
    """Embedded words of a batch of texts."""

    vectors: Float[Array, "b l e"]
    there: Bool[Array, "b l"]
    """Mask: True for a word, False for padding."""


def check_words(words: str) -> None:
    """Refuse an invalid vocabulary.

    Raises:
      ConfigError: a word is repeated or has a capital letter or a comma, or there are too many words.
    """
    listed = words.split()
    twice = next((word for word in listed if listed.count(word) > 1), None) if listed else None
    if twice is not None:
        raise ConfigError(f"model.words has {twice!r} twice; expected different words")
    odd = next((word for word in listed if word != word.lower() or "," in word), None)
    if odd is not None:
        raise ConfigError(
            f"model.words has {odd!r}: expected lower-case words without commas, such as 'one two three'"
        )
    if len(listed) > MOST_WORDS:
        raise ConfigError(f"model.words has {len(listed)} words: expected at most {MOST_WORDS}")


class WordEmbedding(nn.Module):
    """A learned vector per word; NaN for an index outside the vocabulary."""

    num_words: int
    features: int

    @nn.compact
    def __call__(self, ids: Int[Array, "b l"]) -> Text:
        shape = (self.num_words + 1, self.features)  # row 0 is padding, whose attention weight is 0
        table = self.param("table", nn.initializers.normal(1.0), shape, jnp.float32)
        return Text(looked_up(table, ids.reshape(-1)).reshape(*ids.shape, -1), ids > 0)


def attention(
    q: Float[Array, "b n d"],
    k: Float[Array, "b l d"],
    v: Float[Array, "b l d"],
    there: Bool[Array, "b l"],
) -> Float[Array, "b n d"]:
    """softmax(q k^T / sqrt(d)) v over the keys that are `there`, 0 if none is; the softmax is in float32 or wider."""
    accurate = jnp.promote_types(q.dtype, jnp.float32)
    logits = jnp.einsum("bnd,bld->bnl", q, k, preferred_element_type=accurate)
    logits = jnp.where(there[:, None, :], logits / math.sqrt(q.shape[-1]), -jnp.inf)
    most = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    # exp(-inf) is 0, but without any key -inf - -inf would be NaN.
    raised = jnp.exp(logits - jnp.where(jnp.isfinite(most), most, 0.0))
    # The largest term is 1, so the sum is less than 1 only without any key.
    weights = raised / jnp.maximum(raised.sum(-1, keepdims=True), 1.0)
    return jnp.einsum("bnl,bld->bnd", weights.astype(v.dtype), v)


class CrossAttention(nn.Module):
    """The residual block of the equation above, with one head. The cost grows as h w l c."""

    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: layers.Image, text: Text) -> layers.Image:
        b, height, width, c = x.shape
        normed = layers.group_norm(c, dtype=self.dtype)(x).reshape(b, height * width, c)
        q = nn.Dense(c, use_bias=False, dtype=self.dtype, name="q")(normed)
        k, v = (
            nn.Dense(c, use_bias=False, dtype=self.dtype, name=name)(text.vectors) for name in "kv"
        )
        h = attention(q, k, v, text.there)
        zeros = nn.initializers.zeros
        out = nn.Dense(c, use_bias=False, kernel_init=zeros, dtype=self.dtype, name="out")(h)
        return x + out.reshape(x.shape).astype(x.dtype)
