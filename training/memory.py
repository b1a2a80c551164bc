"""What an update needs of a device's memory, and what there is: said, or refused, before the first of them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax

from score_sde.devices import Mapped
from score_sde.errors import UserError
from score_sde.machine import memory_bytes

KIB, MIB, GIB = 2**10, 2**20, 2**30


class Needed(NamedTuple):
    """In bytes, of one device."""

    state: int
    """Parameters, optimizer and averages."""
    data: int
    """Images on the device, and constants."""
    step: int
    """Activations and the gradient: what the compiled update allocates beside its arguments."""

    @property
    def total(self) -> int:
        return sum(self)

    def __str__(self) -> str:
        return (
            f"{amount(self.total)} of memory on each device (state {amount(self.state)}, data {amount(self.data)}, activations "
            f"and gradient {amount(self.step)})"
        )


def amount(count: int) -> str:
    """Of bytes, in words."""
    unit, name = next(
        (size, name)
        for size, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "bytes"))
        if count >= size or size == 1
    )
    return f"{count / unit:.3g} {name}"


def size(tree: Any) -> int:
    """Bytes on one device of arrays, or of what has their shapes; all of them where no sharding says that they are split."""

    def on_device(leaf: Any) -> int:
        sharding = getattr(leaf, "sharding", None)  # NumPy's arrays have none
        shape = sharding.shard_shape(leaf.shape) if sharding else leaf.shape
        return math.prod(shape) * leaf.dtype.itemsize

    return sum(map(on_device, jax.tree.leaves(tree)))


def available(device: jax.Device) -> int | None:
    """Bytes that a device's arrays may take up; None where nobody says. The devices of a CPU share those of the host."""
    if device.platform == "cpu":
        return memory_bytes() // len(jax.local_devices())
    return (device.memory_stats() or {}).get("bytes_limit")


def needed_by(train_step: Mapped, state: Any, constants: Any, resident: Any, given: Any) -> Needed:
    """By an update (step.py), which is compiled for it; so far as the compiler says."""
    allocated = train_step.memory(state, constants, resident, given)
    return Needed(size(state), size((constants, resident)), allocated or 0)


def check_fits(needed: Needed, what: str) -> None:
    """Refuse what cannot fit on a device of this host.

    Args:
      what: in words, what needs it.

    Raises:
      UserError: with what is needed, what there is, and what needs less.
    """
    limit = available(jax.local_devices()[0])
    if limit is None or needed.total <= limit:
        return
    less = (
        "the state alone does not fit; take a smaller network (model.nf, model.ch_mult), or more devices with data_parallel=fsdp, "
        "which share it"
        if needed.state > limit
        else "take a smaller batch_size or more devices; a score network also needs less with training.accumulation=2 or more, "
        "model.remat=True, data.in_memory=no, or a smaller model.nf"
    )
    raise UserError(f"{what} needs {needed}, which has {amount(limit)}: {less}")
