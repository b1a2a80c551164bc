"""How the training times of a batch are spread: one u in (0, 1) per image, uniformly distributed over all places of the batch.

If the u of a batch of B images are spread evenly over [0, 1), they cover all times, which removes the gradient variance due to
chance clusters. Each u depends only on the step and on the image's place in the global batch; the order of the data is random,
so no image keeps a place.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from score_sde.shapes import Integers, Keys, OneKey, PerImage, Scalar

Draw = Callable[[OneKey, Keys, Integers, int], PerImage]
"""(key of the step, keys of the images (b,), their places in the global batch (b,), B) -> u (b,)."""

LAST = 1.0 - 2.0**-24  # the largest float32 below 1
# Half the spacing of float32 uniform numbers; replaces 0, whose time is the end of a normal distribution's tail, of density 0.
SMALLEST = 2.0**-24


def uniform(key: OneKey) -> Scalar:
    """Sample a uniform number in (0, 1)."""
    return jnp.maximum(jax.random.uniform(key), SMALLEST)


def independent(key: OneKey, keys: Keys, places: Integers, batch_size: int) -> PerImage:
    """Sample each image's u independently."""
    return jax.vmap(uniform)(keys)


def stratified(key: OneKey, keys: Keys, places: Integers, batch_size: int) -> PerImage:
    """Sample one u in each of B equal cells: u_i = (i + v_i) / B."""
    u = (places + independent(key, keys, places, batch_size)) / batch_size
    return jnp.minimum(u, LAST)  # the last quotient can round to 1


def low_discrepancy(key: OneKey, keys: Keys, places: Integers, batch_size: int) -> PerImage:
    """Space the u evenly, shifted by one number v for the whole batch: u_i = i/B + v mod 1 (Kingma et al. 2021, App. I.1)."""
    # No image has place B, so this key is used nowhere else.
    v = jax.random.uniform(jax.random.fold_in(key, batch_size))
    return jnp.maximum((places / batch_size + v) % 1.0, SMALLEST)


DRAWS: dict[str, Draw] = {
    "independent": independent,
    "stratified": stratified,
    "low_discrepancy": low_discrepancy,
}
