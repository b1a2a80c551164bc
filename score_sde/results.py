"""Reporting of figures: appended to <workdir>/results.jsonl for scripts, then printed for people."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path
from typing import Any

import jax

from score_sde.files import append_line
from score_sde.json_output import note
from score_sde.output import show
from score_sde.version import made_by


def report(workdir: Path, figures: dict[str, Any], text: str | None = None) -> None:
    """Append the figures as a line of JSON, and print them or, if given, `text`; on the first host only.

    Raises:
      UserError: the line cannot be written; the figures are printed all the same.
    """
    if jax.process_index() > 0:
        return
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record = {**{k: finite(v) for k, v in figures.items()}, **made_by(), "date": now}
    note(record)
    try:
        append_line(workdir / "results.jsonl", json.dumps(record))
    finally:
        show(text or listed(figures))


def listed(figures: dict[str, Any]) -> str:
    """The figures as text, one per line."""
    width = max(len(name) for name in figures)
    return "\n".join(f"{name:<{width}}  {readable(value)}" for name, value in figures.items())


def readable(value: Any) -> str:
    """A value as printed text."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def finite(value: Any) -> Any:
    """Replace NaN and infinity by None, since JSON has neither."""
    if isinstance(value, dict):
        return {name: finite(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [finite(of) for of in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
