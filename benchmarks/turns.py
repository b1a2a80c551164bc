"""Interleaved timings: every work runs once per round, so that fluctuations of the machine affect all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

Work = Callable[[int], None]
"""Does its work the given number of times, and returns once all of it is finished."""
Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "processor": time.process_time}
"""`processor` is the time of all threads of this process, for CPUs shared with other users."""


class Timing(NamedTuple):
    """The timing of one work."""

    seconds: np.ndarray
    """Seconds per call (rounds,), each the mean over a block."""

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))


def in_turns(
    works: Mapping[str, Work], block: float, rounds: int, clock: Clock = time.perf_counter
) -> dict[str, Timing]:
    """Time the works in turns, A B A B ..., in `rounds` blocks of about `block` seconds each.

    Each work must have run once before, so that compilation and autotuning are not timed.
    """
    counts = {
        name: max(1, round(block / max(seconds(work, 2, clock) / 2, 1e-6)))
        for name, work in works.items()
    }
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(seconds(work, counts[name], clock) / counts[name])
    return {name: Timing(np.array(found[name])) for name in works}


def seconds(work: Work, times: int, clock: Clock = time.perf_counter) -> float:
    began = clock()
    work(times)
    return clock() - began


def ratio(slow: Timing, fast: Timing) -> float:
    """Median over rounds of the time of `slow` relative to that of `fast`."""
    return float(np.median(slow.seconds / fast.seconds))
