"""SIGTERM on several hosts: JAX's handler, which only notes the signal for the coordinator, is installed only while a run asks for it.

`jax.distributed.initialize` installs that handler. While it is installed, a process that never asks the coordinator, because it samples
or compiles, can be ended by SIGKILL only. The handler is C++, of which Python's `signal` module does not know, hence the C library.
"""

from __future__ import annotations

import ctypes
import signal

DEFAULT = 0  # SIG_DFL
_set_handler = ctypes.CDLL(None).signal
_set_handler.argtypes, _set_handler.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p

_of_jax: int | None = None
"""JAX's handler, while it is not installed."""


def end_at_sigterm() -> None:
    """From now on SIGTERM ends the process, as it does without JAX; to be called after `jax.distributed.initialize`."""
    global _of_jax
    if _of_jax is None:
        _of_jax = _set_handler(signal.SIGTERM, DEFAULT)


def note_sigterm() -> bool:
    """From now on JAX notes SIGTERM for the coordinator; does nothing and returns False unless `end_at_sigterm` was called before."""
    global _of_jax
    if _of_jax is None:
        return False
    _set_handler(signal.SIGTERM, _of_jax)
    _of_jax = None
    return True
