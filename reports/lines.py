"""Lines of JSON that a run left, and the figures in them. Nothing is trusted: what cannot be read is left out, and said in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]

LARGEST = 1e300  # of a figure: beyond it nothing is measured, and sums overflow


class Read(NamedTuple):
    """The lines of a file that are JSON objects, and what is wrong with the others."""

    rows: list[Row]
    notes: list[str]


def read_lines(path: Path) -> Read:
    """Of a file that may not be there."""
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
    """A line of JSON as a row, or None if it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def number(value: Any) -> float | None:
    """A figure that can be drawn."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -LARGEST < value < LARGEST else None


def newest_first(path: Path, word: str) -> Iterator[Row]:
    """The lines of a file that hold this word, from the last to the first; of a file that cannot be read none.

    A long run's file is not parsed for the sake of its last lines.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in reversed(lines):
        if word.encode() in line and (row := parsed(line)) is not None:
            yield row
