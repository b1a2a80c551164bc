"""What the machine under a program has, and what it refuses, in words."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from score_sde.errors import UserError
from score_sde.files import NO_ROOM, cannot_write

# Of a control group, as a container has: version 2, version 1.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_bytes() -> int:
    """Of this machine, or of the part of it that this process may use."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in LIMITS:
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path(limit).read_text()))
    return total


def check_memory(what: str, needed: int, devices: int) -> None:
    """Refuse, before anything is compiled, what cannot fit. Of what is needed only a lower bound is known then.

    Args:
      what: in words, with what to change.
      needed: bytes, over all devices.
      devices: bytes of their own memory; 0 where it is the machine's.

    Raises:
      UserError: it is more than there is.
    """
    there = max(memory_bytes(), devices)
    if needed > there:
        raise UserError(
            f"{what} needs more than {needed / 1e9:,.0f} GB, and there are {there / 1e9:,.0f} GB"
        )


def refusal(error: BaseException) -> UserError | None:
    """In words what a disk, a folder or a memory refused; None of any other error, which is a mistake in code."""
    if isinstance(error, OSError):
        if error.errno in NO_ROOM:
            return cannot_write(error.filename or "a file", error)
        return UserError(f"{error.filename}: {error.strerror}") if error.filename else None
    # Of a device: XLA's error is a RuntimeError whose text begins so.
    if isinstance(error, MemoryError) or str(error).startswith("RESOURCE_EXHAUSTED"):
        return UserError(
            "out of memory: take a smaller batch_size or network, or more devices "
            f"({' '.join(str(error).split())[:200] or 'MemoryError'})"
        )
    return None
