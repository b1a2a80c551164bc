"""Any number of images as batches that devices and hosts share equally.

Every image has an index. The last batch is padded, and results for the padding are discarded.
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
    """Refuse a batch size that is not a multiple of the number of devices."""
    devices = jax.device_count()
    if batch_size < 1 or batch_size % devices:
        raise UserError(
            f"{field}={batch_size} on {devices} devices: expected a positive multiple of {devices}; "
            f"set --config.{field}={max(devices, batch_size // devices * devices)}"
        )


def check_batch(config: Any, field: str) -> None:
    """Check a batch-size field: `check_batch_size`, and whether the images alone fit into memory."""
    size, data = value_of(config, field), config.data
    check_batch_size(size, field)
    shape = image_shape(data)
    check_memory(
        f"{field}={size} images of {'x'.join(map(str, shape))}",
        4 * size * math.prod(shape),
        jax.process_count() * memory_of_devices(),
    )


def memory_of_devices() -> int:
    """Total memory of this host's devices in bytes; 0 for CPUs, which have none of their own."""
    return sum(
        (device.memory_stats() or {}).get("bytes_limit", 0) for device in jax.local_devices()
    )


def index_batches(num_images: int, batch_size: int) -> Iterator[tuple[np.ndarray, int]]:
    """For each batch, this host's indices, int32 (b,), and the size of the whole batch without padding.

    The last batch is padded with the indices that follow num_images, so that all images of a batch differ, for samplers whose images
    influence each other. To read from a split that ends there, use `np.minimum(indices, num_images - 1)`.
    """
    places = host_places(batch_size, jax.process_index(), jax.process_count())
    for start in range(0, num_images, batch_size):
        yield start + places, min(batch_size, num_images - start)
