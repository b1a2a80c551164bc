"""Attention of pixels to the words of a text (Vaswani et al. 2017, Eq. 1; as in Rombach et al. 2022, Sec. 3.3).

    y = x + W_o softmax(Q K^T / sqrt(d)) V,    Q = W_q norm(x) of the pixels,    K = W_k e,  V = W_v e of the words' vectors e

The softmax runs over the words that there are: those that only fill up a shorter text have weight 0, and of no word at all the sum
is 0. W_o begins as exactly 0 and has no bias, so a fresh network, and any network without a word, is the network without
this block, to the bit: that is the score of no text which classifier-free guidance needs.

Words have no places: a text is the set of its words with their numbers, and another order gives the same image.
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
    """Words as the network sees them."""

    vectors: Float[Array, "b l e"]
    there: Bool[Array, "b l"]
    """Whether there is a word at this place."""


def check_words(words: str) -> None:
    """Refuse a vocabulary in which a text could not be written.

    Raises:
      ConfigError: a word that stands twice, has a capital or a comma; or too many.
    """
    listed = words.split()
    twice = next((word for word in listed if listed.count(word) > 1), None) if listed else None
    if twice is not None:
        raise ConfigError(f"model.words has {twice!r} twice; expected different words")
    odd = next((word for word in listed if word != word.lower() or "," in word), None)
    if odd is not None:
        raise ConfigError(
            f"model.words has {odd!r}: expected words in small letters without commas, such as 'one two three'"
        )
    if len(listed) > MOST_WORDS:
        raise ConfigError(f"model.words has {len(listed)} words: expected at most {MOST_WORDS}")


class WordEmbedding(nn.Module):
    """A learnt vector for each word; NaN for a number that is none."""

    num_words: int
    features: int

    @nn.compact
    def __call__(self, ids: Int[Array, "b l"]) -> Text:
        shape = (self.num_words + 1, self.features)  # the row of 0 has no weight anywhere
        table = self.param("table", nn.initializers.normal(1.0), shape, jnp.float32)
        return Text(looked_up(table, ids.reshape(-1)).reshape(*ids.shape, -1), ids > 0)


def attention(
    q: Float[Array, "b n d"],
    k: Float[Array, "b l d"],
    v: Float[Array, "b l d"],
    there: Bool[Array, "b l"],
) -> Float[Array, "b n d"]:
    """softmax(q k^T / sqrt(d)) v over the keys that are there; 0 where none is. The softmax is in float32 or more."""
    accurate = jnp.promote_types(q.dtype, jnp.float32)
    logits = jnp.einsum("bnd,bld->bnl", q, k, preferred_element_type=accurate)
    logits = jnp.where(there[:, None, :], logits / math.sqrt(q.shape[-1]), -jnp.inf)
    most = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    # exp(-inf) is 0; of no key at all -inf - -inf would be NaN.
    raised = jnp.exp(logits - jnp.where(jnp.isfinite(most), most, 0.0))
    # The largest is 1, so only the sum of no keys is less.
    weights = raised / jnp.maximum(raised.sum(-1, keepdims=True), 1.0)
    return jnp.einsum("bnl,bld->bnd", weights.astype(v.dtype), v)


class CrossAttention(nn.Module):
    """The residual block of the equation above, one head. Cost h w l c."""

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
