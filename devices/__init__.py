"""Devices and hosts in one place: a function of a batch runs on all of them, each with its own images.

    mapped.py    Devices: `data_parallel(f, mapped)`, and arrays split over devices, replicated, gathered
    batches.py   any number of images as batches of indices that devices and hosts can share

Every device sees its share of the batch, and only collectives over the axis AXIS join the shares.
"""

from score_sde.devices.batches import (
    check_batch,
    check_batch_size,
    index_batches,
    memory_of_devices,
)
from score_sde.devices.mapped import (
    AXIS,
    DEVICES,
    Devices,
    Mapped,
    PmapDevices,
    ShardMapDevices,
    build_devices,
    on_one_device,
    replicated,
)

__all__ = [
    "AXIS", "DEVICES", "Devices", "Mapped", "PmapDevices", "ShardMapDevices", "build_devices", "check_batch",
    "check_batch_size", "index_batches", "memory_of_devices", "on_one_device", "replicated",
]  # fmt: skip
