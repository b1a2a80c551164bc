"""What a checkpoint says of itself beside its arrays: <step>/about.json, its format and the figures of its state.

It is one of the files whose checksums manifest.py keeps. Formats: 1 has no such file, 2 has it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from score_sde.files import write_whole

FILE = "about.json"
FORMAT = 2
HELD_OUT = "eval_loss"
"""The figure by which one checkpoint is better than another: less is better."""

Figures = dict[str, float]


class About(NamedTuple):
    format: int
    figures: Figures


def write_about(folder: Path, figures: Figures) -> None:
    about = About(FORMAT, figures)
    write_whole(folder / FILE, (json.dumps(about._asdict(), indent=1) + "\n").encode())


def read_about(folder: Path) -> About:
    """Of a damaged file nothing: whoever reads the arrays learns of the damage."""
    try:
        found = json.loads((folder / FILE).read_bytes())
        return About(int(found["format"]), {k: float(v) for k, v in found["figures"].items()})
    except FileNotFoundError:
        return About(1, {})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return About(FORMAT, {})
