"""The largest batch on a chip that the compiler finds memory for, among doublings of the first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from benchmarks.tpu_compile.job import Job

Compile = Callable[[Job], list[dict[str, Any]] | None]
"""The rows of a job; None where nobody knows."""


def largest(compiled: Compile, job: Job) -> int | None:
    """Images on each chip such that they fit and twice as many do not; 0 where the first do not; None where nobody knows.

    Memory is a line in the number of images, nearly: two points of it say where to look. What fits is said by the compiler.
    """
    found: dict[int, float | None] = {}

    def needs(doublings: int) -> float | None:
        """Share of the chip's memory; None if it does not fit.

        Raises:
          LookupError: nobody knows.
        """
        if doublings not in found:
            at = dataclasses.replace(job, per_chip=job.per_chip << doublings)
            rows = compiled(at)
            if rows is None:
                raise LookupError(at)
            found[doublings] = share(rows)
        return found[doublings]

    try:
        if needs(0) is None:
            return 0
        if needs(1) is None:
            return job.per_chip
        return job.per_chip << doublings_that_fit(needs, expected(needs(0) or 0.0, needs(1) or 0.0))
    except LookupError:
        return None


def doublings_that_fit(needs: Callable[[int], float | None], guess: int) -> int:
    """The most of them, of which one is known to fit: the guess, one beside it, and halves of what is left after that."""
    low, high, probe = 1, 0, guess  # high: the least that is known not to fit; 0: none is
    while not high or high - low > 1:
        if needs(probe) is None:
            probe, high = (low + probe) // 2 if high else probe - 1, probe
        else:
            low = probe
            probe = (low + high) // 2 if high else low + 1
    return low


def share(rows: list[dict[str, Any]]) -> float | None:
    """Of the chip's memory, what the program that needs most of it takes; None if one does not fit, or is refused."""
    if any("memory" not in row for row in rows):
        return None
    return max(row["memory"]["needed"] / row["memory_of_chip"] for row in rows)


def expected(first: float, second: float) -> int:
    """Doublings of the first batch that fit, if memory is a line through the shares of one and of two."""
    slope = second - first
    if slope <= 0:
        return 1
    doublings = 1
    while first + slope * ((2 << doublings) - 1) < 1:
        doublings += 1
    return doublings
