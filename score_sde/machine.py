"""The memory of the machine, and messages for what its disk or memory refuses."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from score_sde.errors import UserError
from score_sde.files import NO_ROOM, cannot_write

# Memory limits of a control group, such as that of a container: version 2 and version 1.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_bytes() -> int:
    """Memory of this machine in bytes, or the part of it that this process may use."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in LIMITS:
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path(limit).read_text()))
    return total


def check_memory(what: str, needed: int, devices: int) -> None:
    """Refuse, before anything is compiled, what cannot fit into memory; only a lower bound on the need is known then.

    Args:
      what: description for the message, with what to change.
      needed: bytes in total over all devices.
      devices: bytes of the devices' own memory; 0 if they use that of the machine.

    Raises:
      UserError: more memory is needed than there is.
    """
    there = max(memory_bytes(), devices)
    if needed > there:
        raise UserError(
            f"{what} needs more than {needed / 1e9:,.0f} GB, and there are {there / 1e9:,.0f} GB"
        )


def refusal(error: BaseException) -> UserError | None:
    """The UserError for what a disk, folder or memory refused; None for any other error, which is a bug."""
    if isinstance(error, OSError):
        if error.errno in NO_ROOM:
            return cannot_write(error.filename or "a file", error)
        return UserError(f"{error.filename}: {error.strerror}") if error.filename else None
    # On a device XLA raises a RuntimeError that begins with this text.
    if isinstance(error, MemoryError) or str(error).startswith("RESOURCE_EXHAUSTED"):
        return UserError(
            "out of memory: take a smaller batch_size or network, or more devices "
            f"({' '.join(str(error).split())[:200] or 'MemoryError'})"
        )
    return None
