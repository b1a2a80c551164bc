"""Where a sampler's randomness comes from.

Noise belongs to an image's index: the same image comes out whatever the batch or the number of devices.
Tests hand over recorded noise instead, and then a sampler is a deterministic function of it.
"""

from __future__ import annotations

from typing import Protocol

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Float

from score_sde.shapes import Array, Images, Index, Integers, Keys, OneKey

START = -1  # the step under which the start state's noise is drawn


class Noise(Protocol):
    """Where a sampler's noise comes from."""

    def __call__(self, step: Index, slot: Index, like: Images) -> Images:
        """Standard normal noise shaped like `like`: slot 0 is the predictor's, 1.. the corrector's."""


@flax.struct.dataclass
class IndexedNoise:
    """Noise drawn from one key for each image."""

    keys: Keys

    @classmethod
    def for_images(cls, key: OneKey, indices: Integers) -> IndexedNoise:
        """The noise of the images with these indices (b,): image i draws from `fold_in(key, i)`.

        So it depends on the key and the image's own index, whatever else is in its batch and whichever device has it.
        """
        return cls(jax.vmap(lambda index: jax.random.fold_in(key, index))(indices))

    def __call__(self, step: Index, slot: Index, like: Images) -> Images:
        def draw(key: OneKey) -> Array:
            # START is -1, and fold_in takes unsigned data
            key = jax.random.fold_in(jax.random.fold_in(key, step - START), slot)
            return jax.random.normal(key, like.shape[1:], like.dtype)

        return jax.vmap(draw)(self.keys)


@flax.struct.dataclass
class RecordedNoise:
    """Noise given outright."""

    start: Images
    steps: Float[Array, "n slots b *dims"]

    def __call__(self, step: Index, slot: Index, like: Images) -> Images:
        # START is only ever passed as a Python integer: inside the loop `step` is traced and not negative
        if step is START:
            return self.start
        return jnp.asarray(self.steps)[step, slot]
