"""The source of a sampler's randomness.

Noise belongs to an image's index: the same image results for any batch and any number of devices. Tests supply recorded
noise instead, which makes a sampler a deterministic function of it.
"""

from __future__ import annotations

from typing import Protocol

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Float

from score_sde.errors import ConfigError
from score_sde.shapes import Array, Images, Index, Integers, Keys, OneKey

START = -1  # the step index for the noise of the start state


class Noise(Protocol):
    """A source of standard normal noise for a sampler."""

    def __call__(self, step: Index, slot: Index, like: Images) -> Images:
        """Standard normal noise shaped like `like`: slot 0 is the predictor's, slots from 1 on the corrector's."""


@flax.struct.dataclass
class IndexedNoise:
    """Noise drawn from one key per image."""

    keys: Keys

    @classmethod
    def for_images(cls, key: OneKey, indices: Integers) -> IndexedNoise:
        """The noise of the images with these indices (b,): image i draws from `fold_in(key, i)`.

        It depends only on the key and the image's own index, not on the rest of its batch or on its device.
        """
        return cls(jax.vmap(lambda index: jax.random.fold_in(key, index))(indices))

    def __call__(self, step: Index, slot: Index, like: Images) -> Images:
        if len(self.keys) != len(like):
            raise ConfigError(
                f"noise for {len(self.keys)} images, but there are {len(like)}: give IndexedNoise.for_images one index for each"
            )

        def draw(key: OneKey) -> Array:
            # START is -1, and fold_in takes unsigned data
            key = jax.random.fold_in(jax.random.fold_in(key, step - START), slot)
            return jax.random.normal(key, like.shape[1:], like.dtype)

        return jax.vmap(draw)(self.keys)


@flax.struct.dataclass
class RecordedNoise:
    """Noise given in advance."""

    start: Images
    steps: Float[Array, "n slots b *dims"]

    def __call__(self, step: Index, slot: Index, like: Images) -> Images:
        # START is only ever passed as a Python integer: inside the loop `step` is traced and not negative
        if step is START:
            return self.start
        return jnp.asarray(self.steps)[step, slot]
