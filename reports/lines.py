"""Reading of JSON lines written by runs, and the figures in them; unreadable lines are skipped and noted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]

LARGEST = 1e300  # magnitude of figures: beyond it they are meaningless, and sums overflow


class Read(NamedTuple):
    """The lines of a file that are JSON objects, and notes on the others."""

    rows: list[Row]
    notes: list[str]


def read_lines(path: Path) -> Read:
    """Read a file of JSON lines; it need not exist."""
    if not path.exists():
        return Read([], [])
    if not path.is_file():
        return Read([], [f"{path.name} is no file, so it is left out."])
    rows, damaged, number = [], [], 0
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                row = parsed(line)
                if row is None:
                    damaged.append(number)
                else:
                    rows.append(row)
    except OSError as error:
        return Read(rows, [f"{path.name} cannot be read ({error.strerror})."])
    if not damaged:
        return Read(rows, [])
    which = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
    return Read(
        rows,
        [f"{path.name}: {len(damaged)} of {number} lines are damaged and left out (line {which})."],
    )


def parsed(line: bytes) -> Row | None:
    """Parse a line as a JSON object; None if it is not one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def number(value: Any) -> float | None:
    """The value as a float if it is a number that can be plotted, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -LARGEST < value < LARGEST else None


def newest_first(path: Path, word: str) -> Iterator[Row]:
    """Yield the rows whose lines contain this word, from last to first; none if the file cannot be read.

    Lines are parsed lazily, so that a long file is not parsed as a whole for its last lines.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in reversed(lines):
        if word.encode() in line and (row := parsed(line)) is not None:
            yield row
