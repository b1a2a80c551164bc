"""Figures: printed for people, appended to <workdir>/results.jsonl for scripts."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path
from typing import Any

import jax


def report(workdir: Path, figures: dict[str, Any], text: str | None = None) -> None:
    """Print the figures, and append them as one JSON object on one line. Only the first host does either.

    With a text, that is printed in their place.
    """
    if jax.process_index() > 0:
        return
    print(text or listed(figures))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = json.dumps({**{k: finite(v) for k, v in figures.items()}, "date": now}) + "\n"
    with open(workdir / "results.jsonl", "a") as file:
        file.write(line)  # one write, so that two runs in one folder do not mix their lines


def listed(figures: dict[str, Any]) -> str:
    """A line for each figure."""
    width = max(len(name) for name in figures)
    return "\n".join(f"{name:<{width}}  {readable(value)}" for name, value in figures.items())


def readable(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def finite(value: Any) -> Any:
    """JSON has no NaN or infinity: null instead."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
