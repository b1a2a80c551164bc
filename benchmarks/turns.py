"""Timings in turns: every work in each round, one after the other, so that a machine's moods meet all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

Work = Callable[[int], None]
"""Does its work so many times, and returns when all of it is done."""
Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "processor": time.process_time}
"""The latter: the time of all threads of this process, for CPUs that others use too."""


class Timing(NamedTuple):
    """Of one work."""

    seconds: np.ndarray
    """Of one time, (rounds,): each the mean over a block."""

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))


def in_turns(
    works: Mapping[str, Work], block: float, rounds: int, clock: Clock = time.perf_counter
) -> dict[str, Timing]:
    """The timing of each work, in `rounds` blocks of about `block` seconds, A B A B ...

    Each has been done once before: what is compiled or chosen the first time is not in it.
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
    """How many times as long `slow` takes: the median over rounds."""
    return float(np.median(slow.seconds / fast.seconds))
