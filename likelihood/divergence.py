"""Products of a velocity field's Jacobian with vectors, in the pass of its evaluation.

An image's velocity must depend on that image alone; then one Jacobian-vector product of the batch is one of
each image. Forward mode throughout: the field is linearised once, and each product costs about an evaluation more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Velocity = Callable[[Array], Array]
Vectors = Callable[[Any], Array]  # an index k to the vectors e_k (b, ...), one for each image


def dot(a: Array, b: Array) -> Array:
    """Inner products (b,) of images (b, ...)."""
    return jnp.sum((a * b).reshape(a.shape[0], -1), axis=1)


def products(
    velocity: Velocity,
    x: Array,
    vectors: Vectors,
    num: int,
    at_once: int,
    take: Callable[[Array, Array], Array],
) -> tuple[Array, Array]:
    """The velocity at x (b, ...) and, for k = 0 ... num - 1, what `take` makes of e_k and J e_k: (num, ...).

    Cost: one evaluation with `num` Jacobian-vector products; `at_once` of them share a pass, which needs the memory
    of so many batches.
    """
    if num == 1:
        e = vectors(0)
        value, pushed = jax.jvp(velocity, (x,), (e,))
        return value, take(e, pushed)[None]
    value, push = jax.linearize(velocity, x)

    def one(k: Array) -> Array:
        e = vectors(k)
        return take(e, push(e))

    indices = jnp.arange(num)
    if num <= at_once:
        return value, jax.vmap(one)(indices)
    return value, jax.lax.map(one, indices, batch_size=at_once)


def quadratic_forms(
    velocity: Velocity, x: Array, vectors: Vectors, num: int, at_once: int
) -> tuple[Array, Array]:
    """The velocity at x (b, ...) and e_k . J e_k, (b, num). Cost: see `products`."""
    value, forms = products(velocity, x, vectors, num, at_once, dot)
    return value, forms.T


def unit_vectors(x: Array) -> Vectors:
    """The D unit vectors of images like x (b, ...)."""

    def unit(k: Array) -> Array:
        one = jax.nn.one_hot(k, x[0].size, dtype=x.dtype).reshape(x.shape[1:])
        return jnp.broadcast_to(one, x.shape)

    return unit
