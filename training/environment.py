"""The software and hardware that a run was trained with: <workdir>/environment.jsonl, one line per start."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

from score_sde.files import append_line
from score_sde.version import made_by

FILE = "environment.jsonl"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "diffrax", "orbax-checkpoint", "numpy")


def record_environment(folder: Path, step: int) -> None:
    """Append this process's environment to the folder's record, for a start at `step`; only the first host writes.

    Raises:
      UserError: it cannot be written.
    """
    if jax.process_index() == 0:
        append_line(folder / FILE, json.dumps({"step": step, **environment()}))


def environment() -> dict[str, Any]:
    """Return the date, the command, the versions of the software, and the machine of this process."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv)[:1000],
        **made_by(),
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "hosts": jax.process_count(),
        "cpu_cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version_of(name) for name in PACKAGES},
    }


def version_of(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
