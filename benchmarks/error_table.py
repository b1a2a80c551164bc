"""Markdown tables of the errors of samplers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.command import in_words
from benchmarks.records import Record, best_within, by_sampler, ranking

COLUMNS = (10, 20, 40, 160)
BESIDE = ("euler", "heun", "dopri5 adaptive")


def figure(error: float) -> str:
    return f"{error:.1e}" if error < 1e-2 else f"{error:#.2g}".rstrip(".")


def cell(record: Record | None, floor: float) -> str:
    """The error and the grid or tolerance of its steps; empty without a record."""
    if record is None:
        return ""
    return f"{'<= ' if record.error < floor else ''}{figure(record.error)} {record.steps}"


def table(records: Iterable[Record], measure: str, floor: float) -> str:
    """A row for each sampler, with its best error within each budget that has any runs."""
    samplers = by_sampler(records, measure)
    columns = [
        n for n in COLUMNS if any(best_within(runs, n) is not None for runs in samplers.values())
    ]
    lines = [
        f"| sampler | order | {' | '.join(f'{n} NFE' for n in columns)} |",
        f"|---|---|{'---|' * len(columns)}",
    ]
    for name, runs in samplers.items():
        cells = (cell(best_within(runs, budget), floor) for budget in columns)
        lines.append(f"| {name} | {runs[0].order} | {' | '.join(cells)} |")
    return "\n".join(lines)


def headline(records: Iterable[Record], measure: str) -> str:
    """The best sampler at few evaluations, compared with well-known ones."""
    samplers = by_sampler(records, measure)
    beside = [name for name in BESIDE if name in samplers]
    lines = ["| NFE | best | " + " | ".join(beside) + " |", "|---|---|" + "---|" * len(beside)]
    for budget in (10, 20):
        best = ranking(samplers, budget)
        if not best:
            continue
        others = (best_within(samplers[name], budget) for name in beside)
        cells = " | ".join("needs more" if other is None else cell(other, 0.0) for other in others)
        lines.append(f"| {budget} | **{best[0].sampler} {cell(best[0], 0.0)}** | {cells} |")
    return "\n".join(lines)


def below(measure: str, floors: dict[str, float]) -> str:
    """The line below the table of a measure: reference values that need no sampler."""
    known = {"Floor": floors.get(measure)}
    if measure == "digits_law":
        known["Test split to training split"] = floors.get("test_to_train")
    return " ".join(f"{name}: {x:.2g}." for name, x in known.items() if x is not None)


def tables(stored: dict[str, Any]) -> dict[str, str]:
    """The table of each measure, and the headline with the command and machine."""
    records = [Record(*row) for row in stored["records"]]
    floors = stored["floors"]
    made = {"headline": f"{headline(records, 'flow')}\n\n{in_words(stored['measured'])}"}
    for measure in dict.fromkeys(record.measure for record in records):
        rows = table(records, measure, floors.get(measure, 0.0))
        made[measure] = f"{rows}\n\n{below(measure, floors)}".rstrip()
    return made
