"""How the times of a batch are spread: u in [0, 1) for the image at each place; those of all places together are uniform.

Spread evenly over [0, 1), the u of a batch of B cover all times, and the part of the gradient's variance that
comes from their chance clusters is gone. A u depends on the step and the place in the global batch only; the data's
order is random, so no image keeps a place.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from score_sde.shapes import Integers, Keys, OneKey, PerImage

Draw = Callable[[OneKey, Keys, Integers, int], PerImage]
"""(key of the step, keys of the images, their places, B) -> u."""

LAST = 1.0 - 2.0**-24  # the largest float32 below 1


def independent(key: OneKey, keys: Keys, places: Integers, batch_size: int) -> PerImage:
    """One number for each image, of its own."""
    return jax.vmap(jax.random.uniform)(keys)


def stratified(key: OneKey, keys: Keys, places: Integers, batch_size: int) -> PerImage:
    """One number in each of B equal cells: u_i = (i + v_i) / B."""
    u = (places + independent(key, keys, places, batch_size)) / batch_size
    return jnp.minimum(u, LAST)  # the last quotient can round to 1


def low_discrepancy(key: OneKey, keys: Keys, places: Integers, batch_size: int) -> PerImage:
    """One number v for the whole batch: u_i = i/B + v mod 1 (Kingma et al. 2021, App. I.1)."""
    # No image has the place B: the key is nobody else's.
    v = jax.random.uniform(jax.random.fold_in(key, batch_size))
    return (places / batch_size + v) % 1.0


DRAWS: dict[str, Draw] = {
    "independent": independent,
    "stratified": stratified,
    "low_discrepancy": low_discrepancy,
}
