"""Any number of images as batches that devices and hosts share equally.

Every image has an index; the last batch is filled up, and what was computed for the filling is thrown away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from score_sde.data.image_shape import image_shape
from score_sde.data.order import host_places
from score_sde.errors import UserError
from score_sde.machine import check_memory
from score_sde.options import value_of


def check_batch_size(batch_size: int, field: str) -> None:
    """Refuse a batch that the devices cannot share equally."""
    devices = jax.device_count()
    if batch_size < 1 or batch_size % devices:
        raise UserError(
            f"{field}={batch_size} on {devices} devices: expected a positive multiple of {devices}; "
            f"set --config.{field}={max(devices, batch_size // devices * devices)}"
        )


def check_batch(config: Any, field: str) -> None:
    """`check_batch_size` of a field, and that its images alone fit into memory."""
    size, data = value_of(config, field), config.data
    check_batch_size(size, field)
    shape = image_shape(data)
    check_memory(
        f"{field}={size} images of {'x'.join(map(str, shape))}",
        4 * size * math.prod(shape),
        memory_of_devices(),
    )


def memory_of_devices() -> int:
    """Bytes of their own, all together; 0 of CPUs."""
    return sum(
        (device.memory_stats() or {}).get("bytes_limit", 0) for device in jax.local_devices()
    )


def index_batches(num_images: int, batch_size: int) -> Iterator[tuple[np.ndarray, int]]:
    """This host's share of each batch of indices, int32 (b,), and the size of the whole batch without its filling.

    The last batch is filled up with the indices beyond: images that influence each other must all be different
    ones. Images of a split that ends there: `np.minimum(indices, num_images - 1)`.
    """
    places = host_places(batch_size, jax.process_index(), jax.process_count())
    for start in range(0, num_images, batch_size):
        yield start + places, min(batch_size, num_images - start)
