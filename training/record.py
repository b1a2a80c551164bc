"""The scalars of a run: <workdir>/metrics.jsonl, a JSON object a line, and <workdir>/tensorboard."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any, TextIO

import jax


class Record:
    """Writes scalars as they come; on hosts other than the first it writes nothing. A context manager."""

    def __init__(self, workdir: str | pathlib.Path, start_step: int):
        """Everything that an earlier run wrote past `start_step` is dropped: those steps come again."""
        self.lines: TextIO | None = None
        if jax.process_index() != 0:
            return
        from tensorboardX import SummaryWriter

        workdir = pathlib.Path(workdir)
        path = workdir / "metrics.jsonl"
        self.resumed_at, self.known = start_step, keep_up_to(path, start_step)
        self.lines = path.open("a", encoding="utf-8")
        self.tensorboard = SummaryWriter(str(workdir / "tensorboard"), purge_step=start_step + 1)

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *exception: Any) -> None:
        if self.lines is not None:
            self.lines.close()
            self.tensorboard.close()

    def write(self, step: int, **scalars: float) -> None:
        """One line, {"step": step, name: value, ...}, on disk when this returns."""
        if self.lines is None:
            return
        if step == self.resumed_at:
            scalars = {name: value for name, value in scalars.items() if name not in self.known}
            if not scalars:
                return
        # Eight digits: all that a float32 has, without the noise of writing it as a double.
        rounded = {name: float(f"{value:.8g}") for name, value in scalars.items()}
        self.lines.write(json.dumps({"step": step, **rounded}, allow_nan=False) + "\n")
        self.lines.flush()
        for name, value in scalars.items():
            self.tensorboard.add_scalar(name, value, step)


def keep_up_to(path: pathlib.Path, step: int) -> set[str]:
    """Drop the lines past `step`, and a last line that a killed run left unfinished.

    Returns:
      The names that the lines of `step` itself hold already, so that they are not written twice.
    """
    if not path.exists():
        return set()
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step(line) <= step]
    partial = path.with_suffix(".jsonl.partial")
    partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    os.replace(partial, path)
    return {name for line in kept if _step(line) == step for name in json.loads(line)}


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except ValueError:
        return float("inf")
