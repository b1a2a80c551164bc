"""The rows of results, as a Markdown table."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

from score_sde.training.memory import amount

HEAD = (
    "| configuration | program | chips | images a chip | arguments | of which donated | temporaries | code | of a chip's memory | "
    "GFLOP | sent, of each chip | compiled in |"
)


def read_rows(out: Path) -> list[dict[str, Any]]:
    file = out / "rows.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table with the newest row of each program, and the compilers used."""
    newest = dict(line(row) for row in rows if "ended" not in row)
    days: dict[str, set[str]] = {}
    for row in rows:
        days.setdefault(compiler_of(row), set()).add(row["date"][:10])
    facts = [f"Compiled on {' and '.join(sorted(of))} by {by}" for by, of in days.items()]
    lines = [*chain.from_iterable((words, "") for words in facts)]
    lines += [HEAD, "|" + "---|" * 12]
    lines += [f"| {' | '.join((*cells, *rest))} |" for cells, rest in newest.items()]
    return "\n".join(lines) + "\n"


def tables(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The only table."""
    return {"": table(rows)}


def compiler_of(row: dict[str, Any]) -> str:
    """Versions of the compiler, and the machine it ran on."""
    return (
        f"jax {row['jax']} with libtpu {row['libtpu']}, Python {row['python']}, {row['machine']}."
    )


def line(row: dict[str, Any]) -> tuple[tuple[str, ...], list[str]]:
    """The cells that identify a program, and those of its results."""
    settings = " ".join((row["config"], *row["settings"]))
    name = row.get("name", "")
    words = name if row["stage"] == "training" else f"{row['stage']} {name}"
    cells = (settings, words.strip() or row["stage"], row["topology"], str(row["per_chip"]))
    if "memory" not in row:
        return cells, [row.get("does_not_fit") or row["refused"], *[""] * 7]
    memory = row["memory"]
    share = memory["needed"] / row["memory_of_chip"]
    return cells, [
        *(amount(memory[part]) for part in ("arguments", "aliased", "temporaries", "code")),
        f"{share:.1%} of {amount(row['memory_of_chip'])}",
        f"{row['flops'] / 1e9:.3g}",
        sent(row["collectives"]) or "nothing",
        f"{row['seconds']:.0f} s",
    ]


def sent(collectives: dict[str, dict[str, int]]) -> str:
    return ", ".join(
        f"{kind}: {of['count']} of {amount(of['bytes'])}" for kind, of in collectives.items()
    )
