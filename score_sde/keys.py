"""Where randomness comes from: a key for each purpose of a run, and of each image for each thing that is drawn for it.

Everything random is a function of (seed, step, the image's index). So nothing depends on the number of devices that share a
batch, and resuming needs no random state. The numbers and the orders here are part of every run's result.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple, TypeVar

import jax
from jax import Array

from score_sde.errors import ConfigError


class Stream(enum.IntEnum):
    """What a key of a run is for."""

    INIT = 0
    TRAIN = 1
    HELD_OUT = 2
    DEQUANTIZER_INIT = 100
    DEQUANTIZER_TRAIN = 101
    DEQUANTIZER_COMPARISON = 102
    CLASSIFIER_INIT = 200
    NOISY_CLASSIFIER_INIT = 300
    # No samples' indices, whose keys come from the same seed:
    OBSERVATION = 2**31
    CASCADE = 2**31 + 1


def seed_key(seed: int) -> Array:
    """The key of a seed.

    Raises:
      ConfigError: a seed that is not from 0 to 2^32 - 1: JAX drops what is above, so that 2^32 would be 0.
    """
    if isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ConfigError(f"seed={seed}: expected 0 to 2^32 - 1, which keys tell apart")
    return jax.random.key(seed)


def stream_key(seed: int, stream: Stream) -> Array:
    """The key of one use of randomness."""
    return jax.random.fold_in(seed_key(seed), int(stream))


class TrainingKeys(NamedTuple):
    """Of an image in an update: one key, (b,), for each thing that is drawn for it."""

    dequantization: Array
    flip: Array
    time: Array
    noise: Array
    dropout: Array
    label_dropout: Array


class MeasurementKeys(NamedTuple):
    """Of an image whose likelihood is measured."""

    dequantization: Array
    probe: Array
    bound: Array
    decoding: Array


class ObservationKeys(NamedTuple):
    """Of an image that is measured, to be restored."""

    dequantization: Array
    noise: Array


class ConditionKeys(NamedTuple):
    """Of an image of which a condition image is made."""

    level: Array
    noise: Array


Keys = TypeVar("Keys", TrainingKeys, MeasurementKeys, ObservationKeys, ConditionKeys)


def image_keys(kind: type[Keys], key: Array, indices: Array) -> Keys:
    """The keys of the images with these indices (b,), from the key of a step or of a measurement."""

    def of_one(index: Array) -> Any:
        return jax.random.split(jax.random.fold_in(key, index), len(kind._fields))

    return kind(*jax.vmap(of_one)(indices).T)
