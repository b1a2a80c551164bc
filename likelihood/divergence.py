"""Products of a velocity field's Jacobian with vectors, in the pass of its evaluation.

An image's velocity must depend on that image alone; then one Jacobian-vector product of the batch is one of
each image. Forward mode throughout: the field is linearised once, and each product costs about an evaluation more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from score_sde.shapes import Array, Images, Index, PerImage

Velocity = Callable[[Images], Images]
Vectors = Callable[[Any], Images]  # an index k to the vectors e_k, one for each image


def dot(a: Images, b: Images) -> PerImage:
    """Inner products of images."""
    return jnp.sum((a * b).reshape(a.shape[0], -1), axis=1)


def products(
    velocity: Velocity,
    x: Images,
    vectors: Vectors,
    num: int,
    at_once: int,
    take: Callable[[Array, Array], Array],
) -> tuple[Images, Float[Array, "{num} *taken"]]:
    """The velocity at x and, for k = 0 ... num - 1, what `take` makes of e_k and J e_k.

    Cost: one evaluation with `num` Jacobian-vector products; `at_once` of them share a pass, which needs the memory
    of so many batches.
    """
    if num == 1:
        e = vectors(0)
        value, pushed = jax.jvp(velocity, (x,), (e,))
        return value, take(e, pushed)[None]
    value, push = jax.linearize(velocity, x)

    def one(k: Index) -> Array:
        e = vectors(k)
        return take(e, push(e))

    indices = jnp.arange(num)
    if num <= at_once:
        return value, jax.vmap(one)(indices)
    return value, jax.lax.map(one, indices, batch_size=at_once)


def quadratic_forms(
    velocity: Velocity, x: Images, vectors: Vectors, num: int, at_once: int
) -> tuple[Images, Float[Array, "b {num}"]]:
    """The velocity at x and e_k . J e_k. Cost: see `products`."""
    value, forms = products(velocity, x, vectors, num, at_once, dot)
    return value, forms.T


def unit_vectors(x: Images) -> Vectors:
    """The D unit vectors of images like x."""

    def unit(k: Index) -> Images:
        one = jax.nn.one_hot(k, x[0].size, dtype=x.dtype).reshape(x.shape[1:])
        return jnp.broadcast_to(one, x.shape)

    return unit
