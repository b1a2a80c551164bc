"""Shared by the commands of benchmarks: output folders, records of machine and versions, errors as one line."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from score_sde.errors import UserError


def make_folder(out: Path) -> None:
    """Create the folder of --out and its parents.

    Raises:
      UserError: the folder cannot be created.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--out={out} cannot be made ({error.strerror}); give another folder"
        ) from error


def make_file(lines: Path) -> None:
    """Create the file of --json, to which lines will be appended; existing contents are kept.

    Raises:
      UserError: the file cannot be written.
    """
    try:
        lines.parent.mkdir(parents=True, exist_ok=True)
        lines.open("a").close()
    except OSError as error:
        raise UserError(
            f"--json={lines} cannot be written ({error.strerror}); give another file"
        ) from error


def run_main(main: Callable[[], Any]) -> None:
    """Run `main`; print a UserError as one line and exit with status 2, as main.py does."""
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def provenance(module: str) -> dict[str, Any]:
    """Machine, versions, date, load, and the command that runs `module` with the arguments given."""
    device = jax.devices()[0]
    return {
        "command": f"python -m {module} {shlex.join(sys.argv[1:])}".strip(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "device": f"{jax.device_count()} x {device.device_kind}",
        "load": round(os.getloadavg()[0], 1),
        "jax": jax.__version__,
        "python": platform.python_version(),
    }


def in_words(facts: dict[str, Any]) -> str:
    """Format the facts of `provenance` as a sentence."""
    return (
        f"`{facts['command']}` on {facts['date'][:10]}: {facts['machine']}, {facts['device']}, "
        f"load {facts['load']}, jax {facts['jax']}, Python {facts['python']}."
    )


def processor() -> str:
    """The name of the processor, as far as the system reports it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
