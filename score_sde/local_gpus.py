"""A note about GPUs that several processes leave idle, as one process for each host does where JAX gives each a single GPU."""

from __future__ import annotations

import re
import socket
import zlib
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from score_sde.devices import of_every_host
from score_sde.progress import say


def visible_gpus(environ: Mapping[str, str], devices: Path = Path("/dev")) -> int:
    """The number of NVIDIA GPUs that this process may use: those of CUDA_VISIBLE_DEVICES, or all; 0 if unknown."""
    if (chosen := environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return len([name for name in chosen.split(",") if name.strip() not in ("", "-1")])
    return len([path for path in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)])


def say_idle_gpus(environ: Mapping[str, str]) -> None:
    """Say so if the processes of a host together use fewer GPUs than it has; called by every process of a job."""
    if jax.process_count() == 1 or jax.default_backend() != "gpu":
        return
    host = zlib.crc32(socket.gethostname().encode())
    processes = int(np.sum(of_every_host(np.array(host, np.uint32)) == host))
    there, used = visible_gpus(environ), processes * jax.local_device_count()
    if used < there:
        say(
            f"this host has {there} GPUs, of which the processes on it use {used}: under SLURM and Open MPI JAX gives each process one "
            f"GPU, so start a process for each (SLURM: --ntasks-per-node={there})"
        )
