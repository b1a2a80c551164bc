"""Attention of several heads, softmax(q k^T / sqrt(c)) v, without parameters (Vaswani et al. 2017, Eq. 1)."""

from __future__ import annotations

import math

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from score_sde.shapes import Array

Queries = Float[Array, "b q heads c"]
Keyed = Float[Array, "b k heads c"]


def attended(q: Queries, k: Keyed, v: Keyed) -> Queries:
    """Attention softmax(q k^T / sqrt(c)) v, at the positions of q.

    Logits and softmax are in float32 or wider: a logit of 20 in bfloat16 would be off by up to .06, and its weight by 6 %. The products
    take operands of the given dtype.
    """
    accurate = jnp.promote_types(q.dtype, jnp.float32)
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=accurate)
    weights = nn.softmax(logits / math.sqrt(q.shape[-1]), axis=-1)
    return jnp.einsum("bhqk,bkhd->bqhd", weights.astype(v.dtype), v)
