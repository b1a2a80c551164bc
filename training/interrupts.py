"""SIGTERM and SIGINT end a run at the next step, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import jax

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Within this context a signal is noted in `received`; a second one ends the process as it always does.

    Several hosts: a signal may reach one of them only, and all must save the same step. There Orbax's
    `reached_preemption` asks JAX's coordinator, whose own SIGTERM handler this must not replace. In a single
    process that function always says no, hence this class.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self.previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        # Python allows handlers in the main thread only; a run in another thread goes without.
        if jax.process_count() == 1 and threading.current_thread() is threading.main_thread():
            self.previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *exception: Any) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}
