"""The metadata of a checkpoint, in <step>/about.json: its format, figures of its state, and the version that wrote it.

The file is covered by the checksums of manifest.py, so figures measured after it was written go to another file,
<step>/later.json. Formats: 1 has no such file, 2 has it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from score_sde.files import write_whole
from score_sde.version import made_by

FILE, LATER = "about.json", "later.json"
FORMAT = 2
HELD_OUT = "eval_loss"
"""The figure that ranks checkpoints unless training.keep_best_by names another; lower is better."""

Figures = dict[str, float]


class About(NamedTuple):
    """The metadata of a checkpoint: its format and the figures measured for it."""

    format: int
    figures: Figures
    best_by: str = HELD_OUT
    """The name of the figure that ranks checkpoints in the run that wrote it."""


def write_about(folder: Path, figures: Figures, best_by: str = HELD_OUT) -> None:
    """Write about.json into a checkpoint's folder."""
    about = {**About(FORMAT, figures, best_by)._asdict(), **made_by()}
    write_whole(folder / FILE, (json.dumps(about, indent=1) + "\n").encode())


def write_later(folder: Path, figures: Figures) -> None:
    """Add figures to an existing checkpoint, in later.json."""
    known = {**read_figures(folder / LATER), **figures}
    write_whole(folder / LATER, (json.dumps(known, indent=1) + "\n").encode())


def read_about(folder: Path) -> About:
    """Read a checkpoint's metadata; of a damaged about.json nothing is used, and restoring the arrays will report the damage."""
    later = read_figures(folder / LATER)
    try:
        found = json.loads((folder / FILE).read_bytes())
        figures = numbers(found["figures"])
        return About(int(found["format"]), figures | later, str(found.get("best_by", HELD_OUT)))
    except FileNotFoundError:
        return About(1, later)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return About(FORMAT, later)


def read_figures(path: Path) -> Figures:
    """Read the figures in a file; {} if it is missing or damaged."""
    try:
        return numbers(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def numbers(found: dict[str, float]) -> Figures:
    """Return figures as plain floats."""
    return {name: float(value) for name, value in found.items()}
