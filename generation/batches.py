"""Work on any number of images, split over devices and hosts: padded batches, gathered results.

Used by sampling and by likelihoods. Every image has an index; the last batch is filled up, and what was
computed for the filling is thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from score_sde.errors import UserError


def check_batch_size(batch_size: int, field: str) -> None:
    """Refuse a batch that the devices cannot share equally."""
    devices = jax.device_count()
    if batch_size < 1 or batch_size % devices:
        raise UserError(
            f"{field}={batch_size} on {devices} devices: expected a positive multiple of {devices}; "
            f"set --config.{field}={max(devices, batch_size // devices * devices)}"
        )


def index_batches(
    num_images: int, batch_size: int, repeat_last: bool = True
) -> Iterator[tuple[np.ndarray, int]]:
    """This host's share of each batch of indices, (local devices, images a device), and the batch's true size.

    The last batch is filled up with repeats of the last index, or with the indices beyond it: images that
    influence each other must all be different ones.
    """
    share = batch_size // jax.process_count()
    first = jax.process_index() * share
    for start in range(0, num_images, batch_size):
        indices = np.arange(start, start + batch_size)
        if repeat_last:
            indices = np.minimum(indices, num_images - 1)
        local = indices[first : first + share].reshape(jax.local_device_count(), -1)
        yield local, min(batch_size, num_images - start)


def gather(tree: Any, count: int) -> Any:
    """The first `count` images of a mapped result (local devices, images a device, ...) of all hosts, as NumPy."""

    def collect(leaf: Any) -> np.ndarray:
        local = np.concatenate([np.asarray(shard.data) for shard in leaf.addressable_shards])
        local = local.reshape(-1, *leaf.shape[2:])
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            local = np.asarray(multihost_utils.process_allgather(local, tiled=True))
        return local[:count]

    return jax.tree.map(collect, tree)
