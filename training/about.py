"""What a checkpoint says of itself beside its arrays, in <step>/about.json: format, figures of its state, the version that wrote it.

It is one of the files whose checksums manifest.py keeps, so figures that are measured when it is written already go to another,
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
"""The figure by which one checkpoint is better than another, unless training.keep_best_by names another: less is better."""

Figures = dict[str, float]


class About(NamedTuple):
    """What a checkpoint says of itself: the figures that were measured of it."""

    format: int
    figures: Figures
    best_by: str = HELD_OUT
    """The name of the figure by which the run that wrote it compares."""


def write_about(folder: Path, figures: Figures, best_by: str = HELD_OUT) -> None:
    """Write that file into a checkpoint's folder."""
    about = {**About(FORMAT, figures, best_by)._asdict(), **made_by()}
    write_whole(folder / FILE, (json.dumps(about, indent=1) + "\n").encode())


def write_later(folder: Path, figures: Figures) -> None:
    """Add figures to a checkpoint that is there."""
    known = {**read_figures(folder / LATER), **figures}
    write_whole(folder / LATER, (json.dumps(known, indent=1) + "\n").encode())


def read_about(folder: Path) -> About:
    """Of a damaged file nothing: whoever reads the arrays learns of the damage."""
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
    """Of a file that may not be there."""
    try:
        return numbers(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def numbers(found: dict[str, float]) -> Figures:
    """Figures as plain floats."""
    return {name: float(value) for name, value in found.items()}
