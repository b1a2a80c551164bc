"""Data parallelism over devices and hosts: a function of a batch runs on all devices, each with its own images.

    mapped.py        Devices: `data_parallel(f, mapped)`; splitting, replicating and gathering arrays
    sharded.py       fully sharded data parallelism, which splits the training state as well
    choice.py        the choice by `config.data_parallel`
    host_copies.py   copies of device arrays in host memory
    batches.py       any number of images as batches of indices that devices and hosts share equally

Each device sees its shard of the batch; shards are combined only by collectives over the axis AXIS.
"""

from score_sde.devices.batches import (
    check_batch,
    check_batch_size,
    index_batches,
    memory_of_devices,
)
from score_sde.devices.choice import DEVICES, build_devices
from score_sde.devices.host_copies import (
    HostCopy,
    of_every_host,
    of_first_host,
    on_any_host,
    on_host,
)
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
    "build_devices", "check_batch", "check_batch_size", "index_batches", "memory_of_devices", "of_every_host", "of_first_host", "on_any_host",
    "on_host", "on_one_device", "placed", "replicated",
]  # fmt: skip
