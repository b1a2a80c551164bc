"""Search for the largest batch per chip that fits into memory, among doublings of the first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from benchmarks.tpu_compile.job import Job

Compile = Callable[[Job], list[dict[str, Any]] | None]
"""Job -> its rows; None if the job failed or no time is left."""

FAR = 6
"""Maximum doublings to extrapolate at once, for two batches of nearly equal memory."""


def largest(compiled: Compile, job: Job) -> int | None:
    """Images per chip that fit while twice as many do not; 0 if the first number does not fit; None if a job gave no result.

    Memory is nearly linear in the number of images once they take more than the state, so two points tell where to search. The
    compiler decides what fits.
    """
    found: dict[int, float | None] = {}

    def needs(doublings: int) -> float | None:
        """Fraction of the chip's memory that is needed; None if it does not fit.

        Raises:
          LookupError: the job gave no result.
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
    """The largest number of doublings that fits, given that one does.

    Extrapolates linearly from the two largest that fit; bisects once one does not fit.
    """
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
    """Fraction of the chip's memory that the largest program takes; None if one does not fit or is refused."""
    if any("memory" not in row for row in rows):
        return None
    return max(row["memory"]["needed"] / row["memory_of_chip"] for row in rows)


def expected(first: tuple[int, float], second: tuple[int, float]) -> int:
    """Doublings that fit by linear extrapolation of two (doublings, memory fraction); 1 to FAR more than the second."""
    (low, at_low), (high, at_high) = first, second
    slope = (at_high - at_low) / ((1 << high) - (1 << low))
    doublings = high + 1
    while doublings < high + FAR and at_high + slope * ((2 << doublings) - (1 << high)) < 1:
        doublings += 1
    return doublings if slope > 0 else high + 1
