"""The tables of docs/speed.md, from the rows of one or several runs on one kind of machine."""

from __future__ import annotations

from typing import Any

from benchmarks.command import in_words

PRECISIONS = {"highest": "float32, `highest`", "TF32": "float32 as by default (TF32)"}


def tables(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The table `agreement` of errors, and the table `speed` of speeds."""
    return {"agreement": agreement(rows), "speed": speed(rows)}


def agreement(rows: list[dict[str, Any]]) -> str:
    """A row for each error of the stage, a column for each precision."""
    found = [row for row in rows if row["stage"] == "agreement"]
    precisions = list(dict.fromkeys(row["precision"] for row in found))
    cells = {(row["measure"], row["precision"]): error(row) for row in found}
    lines = [
        "| | " + " | ".join(PRECISIONS.get(name, name) for name in precisions) + " |",
        "|---" * (1 + len(precisions)) + "|",
    ]
    for measure in dict.fromkeys(row["measure"] for row in found):
        figures = [cells.get((measure, precision), "") for precision in precisions]
        lines.append(f"| {measure} | " + " | ".join(figures) + " |")
    return "\n".join([*lines, "", measured(found)])


def error(row: dict[str, Any]) -> str:
    """Format an error: without a unit if it is relative."""
    figure = f"{row['value']:.1e}".replace("e-0", "e-")
    return figure if row["unit"] == "relative" else f"{figure} {row['unit']}"


def speed(rows: list[dict[str, Any]]) -> str:
    """A row for each measure that PyTorch has too, with the fraction of the machine's limit that ours reaches."""
    limits = {r["precision"]: r["value"] for r in rows if r["measure"] == "matrix product"}
    asked = [row for row in rows if row["who"].startswith("PyTorch")]
    lines = ["| | batch | ours | of the limit | PyTorch | ours / PyTorch |", "|---" * 6 + "|"]
    for peer in asked:
        mine = {row["unit"]: row["value"] for row in ours_of(rows, peer, peer["measure"])}
        ours = mine.get(peer["unit"])
        if ours is None:  # PyTorch reports memory on some devices where JAX does not
            continue
        share, flops = "", mine.get("TFLOP/s")
        if flops and peer["precision"] in limits:
            share = f"{flops:.0f} TFLOP/s, {flops / limits[peer['precision']]:.0%}"
        precision = PRECISIONS.get(peer["precision"], peer["precision"])
        what = f"{peer['measure']}, {peer['unit']}, {precision} (`{peer['stage']}`)"
        theirs = amount(peer["value"]) + peer["who"].removeprefix("PyTorch")
        figures = f"{amount(ours)} | {share} | {theirs}"
        lines.append(f"| {what} | {peer['batch']} | {figures} | {ratio(rows, peer, ours):.2f} |")
    ceilings = "; ".join(
        f"{row['measure']} in {row['precision']}, {row['value']:.3g} {row['unit']}"
        for row in rows
        if row["stage"] == "ceilings"
    )
    return "\n".join([*lines, "", f"Limits: {ceilings}.", "", measured(asked)])


def ratio(rows: list[dict[str, Any]], peer: dict[str, Any], ours: float) -> float:
    """Ours over the peer's: from timings in turns if available, else from the two figures."""
    turns = ours_of(rows, peer, f"{peer['measure']}, ours over {peer['who']}")
    return turns[0]["value"] if turns else ours / peer["value"]


def ours_of(rows: list[dict[str, Any]], peer: dict[str, Any], measure: str) -> list[dict[str, Any]]:
    """Our rows of this measure, with the peer's stage and precision."""
    asked = (peer["stage"], peer["precision"], measure, "ours")
    return [r for r in rows if (r["stage"], r["precision"], r["measure"], r["who"]) == asked]


def amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def measured(rows: list[dict[str, Any]]) -> str:
    """A paragraph for each command."""
    return "\n\n".join({row["command"]: in_words(row) for row in rows}.values())
