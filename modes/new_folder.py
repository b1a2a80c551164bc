"""New folders whose checkpoint does not come from training: published weights (--mode import) or a mean (--mode merge)."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from score_sde.errors import UserError
from score_sde.training import lock
from score_sde.training.checkpoints import Checkpoints, checkpoint_folder, saved_steps
from score_sde.training.recorded_config import FILE, record_config
from score_sde.training.state import TrainState


def saved(state: TrainState, config: Any, workdir: Path, classes: Sequence[str] = ()) -> None:
    """Write a checkpoint of this state, and record the config and, if known, the names of the classes."""
    with Checkpoints(workdir) as checkpoints:
        checkpoints.remove_unfinished()
        checkpoints.save(int(state.step), state)
    record_config(config, workdir, None, classes=classes)


@contextlib.contextmanager
def nothing_left_on_failure(workdir: Path) -> Iterator[None]:
    """Hold the lock of a folder without checkpoints; restore the folder to its former state if an error occurs inside.

    Raises:
      UserError: the folder has checkpoints, or another process is training in it.
    """
    folder = checkpoint_folder(workdir)
    check_empty(folder)  # before the lock too, which would write a file
    new = [name for name in (FILE, lock.FILE) if not (workdir / name).exists()]
    # Held until the end: a training that has yet to save its first checkpoint would lose it.
    with lock.alone_in(workdir):
        check_empty(folder)
        try:
            yield
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            for name in new:
                (workdir / name).unlink(missing_ok=True)
            raise


def check_empty(folder: Path) -> None:
    """Refuse a folder of checkpoints that has any."""
    if saved_steps(folder):
        raise UserError(
            f"{folder} already has checkpoints, and a new one would be mixed with them; give another --workdir"
        )
