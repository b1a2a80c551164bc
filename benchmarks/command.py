"""What a benchmark is told and where it ran: the config that its command names, and a record of machine and versions."""

from __future__ import annotations

import datetime
import importlib
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import jax


def load_config(name: str) -> Any:
    """The config of FILE.py or FILE.py:variant."""
    file, _, variant = name.partition(":")
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    return module.get_config(*filter(None, [variant]))


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
    """A sentence of it."""
    return (
        f"`{facts['command']}` on {facts['date'][:10]}: {facts['machine']}, {facts['device']}, "
        f"load {facts['load']}, jax {facts['jax']}, Python {facts['python']}."
    )


def processor() -> str:
    """Its name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
