"""Records of measured errors, and the selections made for table and picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

BUDGETS = (5, 10, 20, 40, 80, 160)  # evaluations of the network


class Record(NamedTuple):
    """One error of one run."""

    measure: str
    sampler: str
    order: int
    steps: str
    """The time grid, or the tolerance of adaptive steps."""
    nfe: float
    error: float


def by_sampler(records: Iterable[Record], measure: str) -> dict[str, list[Record]]:
    """The records of a measure by sampler, in the order of appearance."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.measure == measure:
            found.setdefault(record.sampler, []).append(record)
    return found


def best_within(records: Iterable[Record], budget: float) -> Record | None:
    """The run of smallest error among those with the most evaluations within the budget; None if there is none.

    These are runs with the same number of steps on several grids, or one tolerance. Runs that use at most half of the
    budget are not considered.
    """
    affordable = [record for record in records if budget / 2 < record.nfe <= budget]
    if not affordable:
        return None
    nearest = max(record.nfe for record in affordable)
    return min((r for r in affordable if r.nfe == nearest), key=lambda record: record.error)


def curve(records: Iterable[Record]) -> list[Record]:
    """The best run for every budget that has one."""
    found = (best_within(list(records), budget) for budget in BUDGETS)
    return [record for record in found if record is not None]


def ranking(samplers: dict[str, list[Record]], budget: float) -> list[Record]:
    """The best run of each sampler within the budget, in order of increasing error."""
    found = (best_within(records, budget) for records in samplers.values())
    return sorted((record for record in found if record), key=lambda record: record.error)
