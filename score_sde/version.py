"""The version of this code, stated here and nowhere else, and the commit where it is a checkout: both stand in every record."""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
from pathlib import Path

VERSION = "1.0.0"
BUILT_FROM = "SCORE_SDE_COMMIT"
ROOT = Path(__file__).resolve().parents[1]


@functools.cache
def made_by() -> dict[str, str | None]:
    """What a record says of the code that wrote it.

    A container has no checkout: there the commit is what its build was told, $SCORE_SDE_COMMIT.
    """
    return {"version": VERSION, "commit": commit(ROOT) or os.environ.get(BUILT_FROM) or None}


def commit(root: Path) -> str | None:
    """Of the checkout at `root`, with "-dirty" where it has changes; None if it is none, or Git does not answer."""
    # Without its own, it would be that of a checkout around an installed package.
    if not (root / ".git").exists():
        return None
    command = f"git -C {shlex.quote(str(root))} describe --always --dirty --abbrev=40 --exclude=*"
    try:
        found = subprocess.run(
            shlex.split(command), capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def in_words() -> str:
    """score-sde 1.0.0 (commit 0123456789ab)."""
    found = made_by()["commit"]
    return f"score-sde {VERSION}" + (f" (commit {short(found)})" if found else "")


def short(found: str) -> str:
    """Twelve digits of a commit, and whether files differ from it."""
    return found[:12] + ("-dirty" if found.endswith("-dirty") else "")
