"""The rows as a table for people."""

from __future__ import annotations

import json
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
    """Markdown."""
    lines = [in_words(rows[0]), ""] if rows else []
    lines += [HEAD, "|" + "---|" * 12]
    return "\n".join([*lines, *map(line, rows)]) + "\n"


def in_words(row: dict[str, Any]) -> str:
    """With what, and when."""
    return f"Compiled on {row['date'][:10]} by jax {row['jax']} with libtpu {row['libtpu']}, Python {row['python']}, {row['machine']}."


def line(row: dict[str, Any]) -> str:
    settings = " ".join((row["config"], *row["settings"]))
    name = (
        row["stage"] if row["stage"] == row.get("name") else f"{row['stage']} {row.get('name', '')}"
    )
    cells = [settings, name.strip(), row["topology"], str(row["per_chip"])]
    if "memory" not in row:
        return (
            f"| {' | '.join(cells)} | {row.get('does_not_fit') or row['refused']} | | | | | | | |"
        )
    memory = row["memory"]
    cells += [amount(memory[part]) for part in ("arguments", "aliased", "temporaries", "code")]
    cells.append(
        f"{memory['needed'] / row['memory_of_chip']:.1%} of {amount(row['memory_of_chip'])}"
    )
    cells.append(f"{row['flops'] / 1e9:.3g}")
    cells.append(sent(row["collectives"]) or "nothing")
    cells.append(f"{row['seconds']:.0f} s")
    return f"| {' | '.join(cells)} |"


def sent(collectives: dict[str, dict[str, int]]) -> str:
    return ", ".join(
        f"{kind}: {of['count']} of {amount(of['bytes'])}" for kind, of in collectives.items()
    )
