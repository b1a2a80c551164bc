"""The version of this code, defined only here, and the commit of a checkout; every record contains both."""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

VERSION = "1.0.0"
BUILT_FROM = "SCORE_SDE_COMMIT"
ROOT = Path(__file__).resolve().parents[1]


@functools.cache
def made_by() -> dict[str, str | None]:
    """Version and commit of this code, for records.

    A container has no checkout; there the commit is that given to its build, $SCORE_SDE_COMMIT.
    """
    return {"version": VERSION, "commit": commit(ROOT) or os.environ.get(BUILT_FROM) or None}


def commit(root: Path) -> str | None:
    """The commit of the checkout at `root`, with "-dirty" if it has changes; None if it is no checkout or Git fails."""
    # Without a .git of its own, Git would find a checkout that surrounds an installed package.
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


def in_words(by: Mapping[str, str | None] | None = None) -> str:
    """The version as text: score-sde 1.0.0 (commit 0123456789ab); this one, or that of a record."""
    by = made_by() if by is None else by
    return f"score-sde {by['version']}" + (
        f" (commit {short(by['commit'])})" if by["commit"] else ""
    )


def short(found: str) -> str:
    """The first twelve digits of a commit, with "-dirty" if files differ from it."""
    return found[:12] + ("-dirty" if found.endswith("-dirty") else "")
