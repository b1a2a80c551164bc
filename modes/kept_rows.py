"""The rows of --mode tradeoff: each is computed once, stored, and read when the command is repeated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from score_sde.devices import of_first_host
from score_sde.files import parse_json, write_whole
from score_sde.json_output import note
from score_sde.progress import say
from score_sde.results import finite
from score_sde.unfinished import UnfinishedFolder, digest_of
from score_sde.version import in_words, made_by

OTHER_VERSION = "Kept from another version, whose figures may differ: {rows}. To compute all rows with this one, remove the folder tradeoff/rows."


class Made(NamedTuple):
    """A finished row."""

    figures: dict[str, Any]
    """The reported figures."""
    unfinished: UnfinishedFolder | None = None
    """Batches to be removed once the row is stored."""


class Task(NamedTuple):
    """A row still to be computed."""

    what: str
    identity: dict[str, Any]
    """Everything that the row depends on."""
    make: Callable[[], Made]


def made(tasks: list[Task], folder: Path) -> list[dict[str, Any]]:
    """The figures of all rows: read if stored already, else computed, reported and stored; --json has those that are read too."""
    paths = [folder / f"{digest_of(task.identity)}.json" for task in tasks]
    # Read before the first row is computed, so that all hosts see the same rows.
    there = of_first_host([stored(path) for path in paths])
    left = sum(found is None for found in there)
    if left < len(tasks):
        say(f"{len(tasks) - left} of {len(tasks)} rows are already complete")
    found = []
    for number, (task, path, figures) in enumerate(zip(tasks, paths, there, strict=True), 1):
        if figures is None:
            # A line instead of an outer progress bar, which would overwrite the bar of the row.
            say(f"row {number} of {len(tasks)}: {task.what}")
            figures, unfinished = task.make()
            figures = {**figures, **made_by()}
            if jax.process_index() == 0:
                write_whole(path, json.dumps(figures).encode())
            if unfinished is not None:
                unfinished.remove()
        else:
            note(finite(figures))
        found.append(figures)
    return found


def stored(path: Path) -> dict[str, Any] | None:
    """A row stored by an earlier command; None if it is missing or unreadable."""
    try:
        return dict(parse_json(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def of_other_versions(tasks: list[Task], rows: list[dict[str, Any]]) -> list[str]:
    """A note that names the rows computed by another version or commit; empty if there are none."""
    now, others = made_by(), []
    for task, row in zip(tasks, rows, strict=True):
        of_row = {name: row.get(name) for name in now}
        if of_row != now:
            by = "an unrecorded version" if of_row["version"] is None else in_words(of_row)
            others.append(f"{task.what} ({by})")
    return [OTHER_VERSION.format(rows="; ".join(others))] if others else []
