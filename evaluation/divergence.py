"""The divergence of a velocity field, image by image: exactly, or by Skilling's and Hutchinson's estimator.

A divergence is a function (velocity, x) -> (velocity(x), div velocity(x)) with x (b, ...) and the divergence
(b,). An image's velocity must depend on that image alone; then one Jacobian-vector product of the batch is
one of each image. Forward mode throughout: nothing is stored for a way back.

`likelihood.probe` names a function of `DIVERGENCES`, which is given a key (b,) for each image and the images.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

Velocity = Callable[[Array], Array]
Divergence = Callable[[Velocity, Array], tuple[Array, Array]]

UNITS_AT_ONCE = 16  # Jacobian-vector products of the exact trace that share a pass


def exact_trace(velocity: Velocity, x: Array) -> tuple[Array, Array]:
    """The sum over the D dimensions of an image of d velocity_k / d x_k.

    Cost: D Jacobian-vector products beside the one evaluation, UNITS_AT_ONCE of them at a time.
    """
    value, push = jax.linearize(velocity, x)
    batch, dimension = x.shape[0], x[0].size

    def diagonal(k: Array) -> Array:
        unit = jax.nn.one_hot(k, dimension, dtype=x.dtype).reshape(x.shape[1:])
        return push(jnp.broadcast_to(unit, x.shape)).reshape(batch, dimension)[:, k]

    entries = jax.lax.map(diagonal, jnp.arange(dimension), batch_size=UNITS_AT_ONCE)
    return value, jnp.sum(entries, axis=0)


def along(probe: Array) -> Divergence:
    """e . J e with a probe e (b, ...): of mean tr J if the entries of e have identity covariance.

    Used for a whole trajectory, one e keeps the differential equation well defined and the integral unbiased.
    Cost: one Jacobian-vector product, in the pass of the evaluation.
    """

    def quadratic_form(velocity: Velocity, x: Array) -> tuple[Array, Array]:
        value, jacobian_probe = jax.jvp(velocity, (x,), (probe,))
        return value, jnp.sum((probe * jacobian_probe).reshape(x.shape[0], -1), axis=1)

    return quadratic_form


def rademacher(keys: Array, x: Array) -> Array:
    """Signs +1 and -1: the probe of least variance with independent entries; exact for diagonal Jacobians."""
    return jax.vmap(lambda key: jax.random.rademacher(key, x.shape[1:], x.dtype))(keys)


def gaussian(keys: Array, x: Array) -> Array:
    """Standard normal entries."""
    return jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)


DIVERGENCES: dict[str, Callable[[Array, Array], Divergence]] = {
    "rademacher": lambda keys, x: along(rademacher(keys, x)),
    "gaussian": lambda keys, x: along(gaussian(keys, x)),
    "exact": lambda keys, x: exact_trace,
}
