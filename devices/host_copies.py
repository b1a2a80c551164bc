"""Arrays that lie split or whole on devices of several hosts, copied to the memory of the hosts and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding


@dataclasses.dataclass(frozen=True)
class HostCopy:
    """What this host's devices hold of an array, each part once."""

    shape: tuple[int, ...]
    parts: dict[tuple[int, ...], np.ndarray]
    """By where they begin."""

    @classmethod
    def of(cls, array: jax.Array) -> HostCopy:
        parts = {}
        for shard in array.addressable_shards:
            where = begin(shard.index)
            if where not in parts:
                # A copy: on a CPU the buffer itself may be given away.
                parts[where] = np.array(shard.data)
        return cls(array.shape, parts)

    def on_devices(self, place: Sharding) -> jax.Array:
        """The array again, lying there as it lay."""
        return jax.make_array_from_callback(
            self.shape, place, lambda index: self.parts[begin(index)]
        )

    @property
    def is_finite(self) -> bool:
        return all(np.all(np.isfinite(part)) for part in self.parts.values())


def begin(index: Any) -> tuple[int, ...]:
    """Of the slices, one for each axis, of a part."""
    return tuple(of_axis.start or 0 for of_axis in index)


def on_any_host(flags: np.ndarray) -> np.ndarray:
    """Which of these are True on one host at least, the same answer on all."""
    if jax.process_count() == 1:
        return flags
    from jax.experimental import multihost_utils

    return np.any(multihost_utils.process_allgather(flags), axis=0)


def of_every_host(array: np.ndarray) -> np.ndarray:
    """This array of each host, which has one of the same shape, in the order of the hosts: (hosts, ...)."""
    if jax.process_count() == 1:
        return array[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(array))


def on_host(tree: Any) -> Any:
    """All of each array as a NumPy array, on every host."""

    def whole(array: jax.Array) -> np.ndarray:
        if array.is_fully_addressable or array.is_fully_replicated:
            return np.asarray(array)
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(array, tiled=True))

    return jax.tree.map(whole, tree)
