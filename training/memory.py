"""The device memory that an update needs, reported and checked against what is available before the first update."""

from __future__ import annotations

import ctypes
import math
import sys
from typing import Any, NamedTuple

import jax

from score_sde.devices import Mapped
from score_sde.errors import UserError
from score_sde.machine import memory_bytes

KIB, MIB, GIB = 2**10, 2**20, 2**30


class Needed(NamedTuple):
    """The memory needed on each device, in bytes."""

    state: int
    """Parameters, optimizer state and averages."""
    data: int
    """Resident images, and constants."""
    step: int
    """Activations and the gradient: what the compiled update allocates in addition to its arguments."""

    @property
    def total(self) -> int:
        return sum(self)

    def __str__(self) -> str:
        return (
            f"{amount(self.total)} of memory on each device (state {amount(self.state)}, data {amount(self.data)}, activations "
            f"and gradient {amount(self.step)})"
        )


def amount(count: int) -> str:
    """Format a number of bytes, such as "1.5 GiB"."""
    unit, name = next(
        (size, name)
        for size, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "bytes"))
        if count >= size or size == 1
    )
    return f"{count / unit:.3g} {name}"


def size(tree: Any) -> int:
    """Return the bytes per device of a tree of arrays or shapes; leaves without a sharding count whole."""

    def on_device(leaf: Any) -> int:
        sharding = getattr(leaf, "sharding", None)  # NumPy's arrays have none
        shape = sharding.shard_shape(leaf.shape) if sharding else leaf.shape
        return math.prod(shape) * leaf.dtype.itemsize

    return sum(map(on_device, jax.tree.leaves(tree)))


def available(device: jax.Device) -> int | None:
    """Return the bytes available for arrays on a device, or None if unknown; CPU devices share the host's memory equally."""
    if device.platform == "cpu":
        return memory_bytes() // len(jax.local_devices())
    return (device.memory_stats() or {}).get("bytes_limit")


def needed_by(train_step: Mapped, state: Any, constants: Any, resident: Any, given: Any) -> Needed:
    """Return the memory needed by an update (step.py), as far as the compiler reports it; this compiles the update."""
    allocated = train_step.memory(state, constants, resident, given)
    return Needed(size(state), size((constants, resident)), allocated or 0)


def return_freed_memory() -> None:
    """Return the host memory that XLA's compiler has freed to the system, where the C library can.

    glibc keeps it for the process otherwise (docs/speed.md has how much).
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(0)


def check_fits(needed: Needed, what: str) -> None:
    """Check that this much memory is available on a device of this host.

    Args:
      what: a description of what needs the memory, for the message.

    Raises:
      UserError: it is not; the message says what is needed and available, and how to need less.
    """
    limit = available(jax.local_devices()[0])
    if limit is None or needed.total <= limit:
        return
    less = (
        "the state alone does not fit; use a smaller network (model.nf, model.ch_mult), or more devices with data_parallel=fsdp, "
        "which share it"
        if needed.state > limit
        else "use a smaller batch_size or more devices; a score network also needs less with training.accumulation=2 or more, "
        "model.remat=True, data.in_memory=no, or a smaller model.nf"
    )
    raise UserError(f"{what} needs {needed}, but each device has {amount(limit)}: {less}")
