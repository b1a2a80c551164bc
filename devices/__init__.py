"""Devices and hosts in one place: a function of a batch runs on all of them, each with its own images.

    mapped.py        Devices: `data_parallel(f, mapped)`, and arrays split over devices, replicated, gathered
    sharded.py       the training state split over the devices too
    choice.py        `config.data_parallel`
    host_copies.py   arrays of devices in the memory of hosts
    batches.py       any number of images as batches of indices that devices and hosts can share

Every device sees its share of the batch, and only collectives over the axis AXIS join the shares.
"""

from score_sde.devices.batches import (
    check_batch,
    check_batch_size,
    index_batches,
    memory_of_devices,
)
from score_sde.devices.choice import DEVICES, build_devices
from score_sde.devices.host_copies import HostCopy, of_every_host, on_any_host, on_host
from score_sde.devices.mapped import (
    AXIS,
    STATE,
    Devices,
    Mapped,
    PmapDevices,
    ShardMapDevices,
    Shares,
    on_one_device,
    placed,
    replicated,
)
from score_sde.devices.sharded import FsdpDevices

__all__ = [
    "AXIS", "DEVICES", "STATE", "Devices", "FsdpDevices", "HostCopy", "Mapped", "PmapDevices", "ShardMapDevices", "Shares",
    "build_devices", "check_batch", "check_batch_size", "index_batches", "memory_of_devices", "of_every_host", "on_any_host",
    "on_host", "on_one_device", "placed", "replicated",
]  # fmt: skip
