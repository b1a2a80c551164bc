"""Tables of methods for inverse problems: a row for each method, a column for each problem."""

from __future__ import annotations

from typing import Any

from benchmarks.command import in_words
from benchmarks.posterior_methods import METHODS, Record

COLUMNS = {
    "gaussian": ("pair .5", "pair .1", "pair 0", "field .1"),
    "modes": tuple(f"modes {d}/{m}" for d in (8, 80) for m in (1, 2, 4)),
    "points": ("points .3",),
}
"""The problems of each table; problems without any figure get no column."""


def tables(lines: list[dict[str, Any]]) -> dict[str, str]:
    """Tables by the names of COLUMNS, if they have figures; the last line of each method and problem counts."""
    newest = {(line["problem"], line["method"]): line for line in lines}
    found = {}
    for name, columns in COLUMNS.items():
        rows = [line for line in newest.values() if line["problem"] in columns]
        if rows:
            records = [Record(*(line[field] for field in Record._fields)) for line in rows]
            present = [column for column in columns if column in {r.problem for r in records}]
            found[name] = f"{table(records, present)}\n\n{measured(rows)}"
    return found


def table(records: list[Record], problems: list[str]) -> str:
    """A Markdown table with a row for each method."""
    figures = {(record.problem, record.method): record for record in records}
    floors = {r.problem: r.floor for r in records if r.floor}
    lines = [
        "| method | evaluations | products with J | " + " | ".join(problems) + " |",
        "|---" * (3 + len(problems)) + "|",
    ]
    for method in METHODS:
        row = [figures.get((problem, method)) for problem in problems]
        found = [record for record in row if record is not None]
        if found:
            cells = ["-" if record is None else figure(record.distance) for record in row]
            costs = " | ".join(
                ", ".join(map(str, dict.fromkeys(of))) for of in zip(*map(cost, found), strict=True)
            )
            lines.append(f"| {method} | {costs} | " + " | ".join(cells) + " |")
    if floors:
        cells = [figure(floors[name]) if name in floors else "0" for name in problems]
        lines.append("| samples of the posterior (floor) | | | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cost(record: Record) -> tuple[int, int]:
    """Evaluations and products; a row shows several if its columns have different numbers of steps."""
    return record.evaluations, record.products


def figure(value: float) -> str:
    """Format to two significant digits."""
    return f"{float(f'{value:.2g}'):g}"


def measured(lines: list[dict[str, Any]]) -> str:
    """How the rows were measured: a paragraph for each command, with the facts of its first line."""
    first: dict[str, dict[str, Any]] = {}
    for line in sorted(lines, key=lambda line: line["date"]):
        first.setdefault(line["command"], line)
    return "\n\n".join(f"{settings(line)}: {in_words(line)}" for line in first.values())


def settings(line: dict[str, Any]) -> str:
    """The number of steps, and of samples if any were drawn."""
    steps = f"{line['steps']} steps"
    return f"{steps}, {line['samples']} samples" if line["samples"] else steps
