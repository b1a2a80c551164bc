"""Random keys: one for each purpose of a run, and for each image one for each thing that is drawn for it.

All randomness is a function of (seed, step, index of the image), so results do not depend on the number of devices that share a
batch, and resuming needs no random state. Changing the numbers or the order of fields here changes the results of every run.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple, TypeVar

import jax
from jax import Array

from score_sde.errors import ConfigError


class Stream(enum.IntEnum):
    """The purposes of the keys of a run."""

    INIT = 0
    TRAIN = 1
    HELD_OUT = 2
    DEQUANTIZER_INIT = 100
    DEQUANTIZER_TRAIN = 101
    DEQUANTIZER_COMPARISON = 102
    CLASSIFIER_INIT = 200
    NOISY_CLASSIFIER_INIT = 300
    # Outside the range of sample indices, which are folded into the same seed key:
    OBSERVATION = 2**31
    CASCADE = 2**31 + 1


def seed_key(seed: int) -> Array:
    """The key of a seed.

    Raises:
      ConfigError: the seed is not in 0 to 2^32 - 1; JAX drops higher bits, so that 2^32 would be 0.
    """
    if isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ConfigError(f"seed={seed}: expected 0 to 2^32 - 1, which keys tell apart")
    return jax.random.key(seed)


def stream_key(seed: int, stream: Stream) -> Array:
    """The key for one purpose."""
    return jax.random.fold_in(seed_key(seed), int(stream))


class TrainingKeys(NamedTuple):
    """Keys (b,) of images in an update, one for each thing that is drawn for them."""

    dequantization: Array
    flip: Array
    time: Array
    noise: Array
    dropout: Array
    label_dropout: Array


class MeasurementKeys(NamedTuple):
    """Keys (b,) of images whose likelihood is measured."""

    dequantization: Array
    probe: Array
    bound: Array
    decoding: Array


class ObservationKeys(NamedTuple):
    """Keys (b,) of images from which measurements are made, to be restored."""

    dequantization: Array
    noise: Array


class ConditionKeys(NamedTuple):
    """Keys (b,) of images from which condition images are made."""

    level: Array
    noise: Array


Keys = TypeVar("Keys", TrainingKeys, MeasurementKeys, ObservationKeys, ConditionKeys)


def image_keys(kind: type[Keys], key: Array, indices: Array) -> Keys:
    """Derive the keys of the images with these indices (b,) from the key of a step or of a measurement."""

    def of_one(index: Array) -> Any:
        return jax.random.split(jax.random.fold_in(key, index), len(kind._fields))

    return kind(*jax.vmap(of_one)(indices).T)
