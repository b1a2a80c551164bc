"""Simulation of a full disk, as far as possible for a process."""

import contextlib
import resource


@contextlib.contextmanager
def room_for(size):
    """No file of this process can grow beyond `size` bytes: the system's own refusal, EFBIG in the place of ENOSPC."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
