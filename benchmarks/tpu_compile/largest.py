"""The largest batch on a chip that the compiler finds memory for, among doublings of the first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from benchmarks.tpu_compile.job import Job

Compile = Callable[[Job], list[dict[str, Any]] | None]
"""The rows of a job; None where nobody knows."""

FAR = 6
"""Doublings: a line through two of nearly equal memory has no end."""


def largest(compiled: Compile, job: Job) -> int | None:
    """Images on each chip such that they fit and twice as many do not; 0 where the first do not; None where nobody knows.

    Memory is a line in the number of images, nearly, once they take more than the state: two points of it say where to look. What fits
    is said by the compiler.
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
        return job.per_chip << doublings_that_fit(needs)
    except LookupError:
        return None


def doublings_that_fit(needs: Callable[[int], float | None]) -> int:
    """The most of them, of which one is known to fit: where the line through the two largest leads, and halves of what is left once one does not fit."""
    low, high, probe = 1, 0, expected((0, needs(0) or 0.0), (1, needs(1) or 0.0))
    while not high or high - low > 1:
        share = needs(probe)
        if share is None:
            probe, high = (low + probe) // 2 if high else probe - 1, probe
        else:
            line = (low, needs(low) or 0.0), (probe, share)
            low, probe = probe, (probe + high) // 2 if high else expected(*line)
    return low


def share(rows: list[dict[str, Any]]) -> float | None:
    """Of the chip's memory, what the program that needs most of it takes; None if one does not fit, or is refused."""
    if any("memory" not in row for row in rows):
        return None
    return max(row["memory"]["needed"] / row["memory_of_chip"] for row in rows)


def expected(first: tuple[int, float], second: tuple[int, float]) -> int:
    """Doublings that fit, if memory is a line through the shares of these; one more than the second at least, and FAR more at the most."""
    (low, at_low), (high, at_high) = first, second
    slope = (at_high - at_low) / ((1 << high) - (1 << low))
    doublings = high + 1
    while doublings < high + FAR and at_high + slope * ((2 << doublings) - (1 << high)) < 1:
        doublings += 1
    return doublings if slope > 0 else high + 1
