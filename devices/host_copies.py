"""Copies of sharded or replicated device arrays in host memory, and back, on any number of hosts."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Sharding

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class HostCopy:
    """This host's part of an array, with each distinct shard held once."""

    shape: tuple[int, ...]
    parts: dict[tuple[int, ...], np.ndarray]
    """Shards by the index at which they begin."""

    @classmethod
    def of(cls, array: jax.Array) -> HostCopy:
        parts = {}
        for shard in array.addressable_shards:
            where = begin(shard.index)
            if where not in parts:
                # A copy, because on a CPU the buffer itself may be donated.
                parts[where] = np.array(shard.data)
        return cls(array.shape, parts)

    def on_devices(self, place: Sharding) -> jax.Array:
        """Put the array back on the devices, with the sharding it had."""
        return jax.make_array_from_callback(
            self.shape, place, lambda index: self.parts[begin(index)]
        )

    @property
    def is_finite(self) -> bool:
        return all(np.all(np.isfinite(part)) for part in self.parts.values())


def begin(index: Any) -> tuple[int, ...]:
    """Start indices of a shard, from its slices along each axis."""
    return tuple(of_axis.start or 0 for of_axis in index)


def on_any_host(flags: np.ndarray) -> np.ndarray:
    """Elementwise: whether a flag is True on at least one host. All hosts get the same answer."""
    if jax.process_count() == 1:
        return flags
    from jax.experimental import multihost_utils

    return np.any(multihost_utils.process_allgather(flags), axis=0)


def of_every_host(array: np.ndarray) -> np.ndarray:
    """Gather an array of the same shape from each host, in host order: (hosts, ...)."""
    if jax.process_count() == 1:
        return array[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(array))


def of_first_host(value: T) -> T:
    """What the first host found, on every host, for decisions that all must make alike; a value that JSON can hold."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sent = np.zeros(multihost_utils.broadcast_one_to_all(np.int32(len(text))), np.uint8)
    if jax.process_index() == 0:
        sent[:] = text
    found: T = json.loads(multihost_utils.broadcast_one_to_all(sent).tobytes())
    return found


def on_host(tree: Any) -> Any:
    """Gather each array of a tree as a whole NumPy array on every host."""

    def whole(array: jax.Array) -> np.ndarray:
        if array.is_fully_addressable or array.is_fully_replicated:
            return np.asarray(array)
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(array, tiled=True))

    return jax.tree.map(whole, tree)
