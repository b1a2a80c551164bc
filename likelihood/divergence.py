"""Jacobian-vector products of a velocity field, computed along with its value.

The velocity of an image must depend on that image alone; then one Jacobian-vector product of the batch is one for
each image. Forward mode throughout: the field is linearized once, and each product costs about one more evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from score_sde.shapes import Array, Images, Index, PerImage

Velocity = Callable[[Images], Images]
Vectors = Callable[[Any], Images]  # maps an index k to vectors e_k, one for each image


def dot(a: Images, b: Images) -> PerImage:
    """Inner product of each pair of images, (b,)."""
    return jnp.sum((a * b).reshape(a.shape[0], -1), axis=1)


def products(
    velocity: Velocity,
    x: Images,
    vectors: Vectors,
    num: int,
    at_once: int,
    take: Callable[[Array, Array], Array],
) -> tuple[Images, Float[Array, "{num} *taken"]]:
    """The velocity at x and take(e_k, J e_k) for k = 0 ... num - 1.

    Cost: one evaluation with `num` Jacobian-vector products, computed `at_once` at a time, which needs the memory of as many
    batches.
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
    """The velocity at x and e_k . J e_k (b, num). Cost: see `products`."""
    value, forms = products(velocity, x, vectors, num, at_once, dot)
    return value, forms.T


def unit_vectors(x: Images) -> Vectors:
    """The D unit vectors in the space of the images x."""

    def unit(k: Index) -> Images:
        one = jax.nn.one_hot(k, x[0].size, dtype=x.dtype).reshape(x.shape[1:])
        return jnp.broadcast_to(one, x.shape)

    return unit
