"""Handling of SIGTERM and SIGINT, which end a run after the call in progress, with a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

import jax

from score_sde.preemption import end_at_sigterm, note_sigterm
from score_sde.progress import say

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """A context manager that notes a signal between `listen` and `stop` in `received`; a second one has its usual effect.

    Before the first update is done there is nothing to save, so the run does not listen yet and a signal ends the process as usual.

    Python runs signal handlers only between bytecode instructions, not during a call that compiles or computes for minutes. So a
    thread reads the pipe to which Python writes a signal's number immediately (`set_wakeup_fd`), and acknowledges the signal.

    With several hosts, a signal may reach only one of them, while all must save the same step. Then Orbax's `reached_preemption`
    asks JAX's coordinator, and between `listen` and `stop` JAX's own SIGTERM handler is installed (preemption.py). In a single
    process that function always returns False, hence this class.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self.previous: dict[int, Any] = {}
        self.noting = False  # whether JAX's handler is installed
        self.pipe: int | None = None  # the pipe's write end, to which Python writes signal numbers

    def __enter__(self) -> Interrupts:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stop()

    def stop(self) -> None:
        self._restore()
        if self.noting:
            end_at_sigterm()
            self.noting = False
        if self.pipe is not None:
            signal.set_wakeup_fd(self.previous_pipe)
            os.close(self.pipe)
            self.pipe = None

    def listen(self) -> None:
        if jax.process_count() > 1:
            self.noting = note_sigterm() or self.noting
            return
        # Python allows signal handlers only in the main thread; a run in another thread has none.
        if self.pipe is not None or threading.current_thread() is not threading.main_thread():
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
    """Acknowledge the first signal with a message and end the process at a second one in `deadly`, until the pipe is closed."""
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
