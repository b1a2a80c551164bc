"""SIGTERM and SIGINT end a run after the call in progress, with a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

import jax

from score_sde.progress import say

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """From `listen` to `stop` a signal is noted in `received`; a second one does what it always does. A context manager.

    Before the first update is done there is nothing to save, and a signal ends the process as if this were not here.

    Python runs handlers between two of its instructions, so not within a call that compiles or computes for minutes. The
    file to which it writes a signal's number at once (`set_wakeup_fd`) is read by a thread, which answers.

    Several hosts: a signal may reach one of them only, and all must save the same step. There Orbax's
    `reached_preemption` asks JAX's coordinator, whose own SIGTERM handler this must not replace. In a single
    process that function always says no, hence this class.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self.previous: dict[int, Any] = {}
        self.pipe: int | None = None  # the end that signals are written to

    def __enter__(self) -> Interrupts:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stop()

    def stop(self) -> None:
        self._restore()
        if self.pipe is not None:
            signal.set_wakeup_fd(self.previous_pipe)
            os.close(self.pipe)
            self.pipe = None

    def listen(self) -> None:
        # Python allows handlers in the main thread only; a run in another thread goes without.
        if (
            self.pipe is not None
            or jax.process_count() > 1
            or threading.current_thread() is not threading.main_thread()
        ):
            return
        read, self.pipe = os.pipe()
        os.set_blocking(self.pipe, False)
        self.previous_pipe = signal.set_wakeup_fd(self.pipe, warn_on_full_buffer=False)
        self.previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        deadly = {number for number in SIGNALS if self.previous[number] is signal.SIG_DFL}
        threading.Thread(target=answer, args=(read, deadly), daemon=True).start()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}


def answer(read: int, deadly: set[int]) -> None:
    """Say that a signal has come, and at a second one that is `deadly` end the process, until the pipe is closed."""
    answered = False
    while byte := os.read(read, 1):
        number = byte[0]
        if number not in SIGNALS:
            continue
        if answered and number in deadly:
            os._exit(128 + number)
        if not answered:
            say(f"{signal.Signals(number).name}: the run saves and ends after the call in progress")
        answered = True
    os.close(read)
