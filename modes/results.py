"""Figures: printed for people, appended to <workdir>/results.jsonl for scripts."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path
from typing import Any

import jax


def report(workdir: Path, figures: dict[str, Any]) -> None:
    """Print the figures, and append them as one JSON object on one line. Only the first host does either."""
    if jax.process_index() > 0:
        return
    width = max(len(name) for name in figures)
    for name, value in figures.items():
        print(f"{name:<{width}}  {readable(value)}")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = json.dumps({**{k: finite(v) for k, v in figures.items()}, "date": now}) + "\n"
    with open(workdir / "results.jsonl", "a") as file:
        file.write(line)  # one write, so that two runs in one folder do not mix their lines


def readable(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def finite(value: Any) -> Any:
    """JSON has no NaN or infinity: null instead."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
