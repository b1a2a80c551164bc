"""The rows of results, as a file and as a Markdown table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.accelerator.page import measured
from score_sde.files import write_whole


def read_rows(out: Path) -> list[dict[str, Any]]:
    file = out / "rows.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def without_stage(out: Path, stage: str) -> None:
    """Remove the rows of this stage from rows.jsonl."""
    kept = [row for row in read_rows(out) if row["stage"] != stage]
    write_whole(out / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in kept).encode())


def table(rows: list[dict[str, Any]], ended: dict[str, str]) -> str:
    """A Markdown table of all figures; rates of operations are also given as a fraction of the matrix product's."""
    ceilings = {
        row["precision"]: row["value"] for row in rows if row["measure"] == "matrix product"
    }
    lines = []
    if rows:
        lines += [measured(rows), ""]
    lines += ["| measure | who | precision | batch | figure |", "|---|---|---|---|---|"]
    for row in rows:
        figure = f"{row['value']:.3g} {row['unit']}"
        ceiling = ceilings.get(row["precision"])
        if row["unit"] == "TFLOP/s" and row["stage"] != "ceilings" and ceiling:
            figure += f", {row['value'] / ceiling:.0%} of the matrix product's"
        lines.append(
            f"| {row['measure']} | {row['who']} | {row['precision']} | {row['batch']} | {figure} |"
        )
    lines += ["", "Stages: " + "; ".join(f"{name} {how}" for name, how in ended.items()) + "."]
    return "\n".join(lines) + "\n"
