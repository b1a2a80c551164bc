"""The choice of how devices share a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from score_sde.devices.mapped import Devices, PmapDevices, ShardMapDevices
from score_sde.devices.sharded import FsdpDevices
from score_sde.options import choose

DEVICES: dict[str, Callable[..., Devices]] = {
    "pmap": PmapDevices,
    "shard_map": ShardMapDevices,
    "fsdp": FsdpDevices,
}


def build_devices(config: Any) -> Devices:
    """All devices, sharing batches in the way that `config.data_parallel` names."""
    return choose("data_parallel", config.data_parallel, DEVICES)()
