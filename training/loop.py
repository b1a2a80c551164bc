"""Train any task: lock the folder, resume from what is there, and end without losing work, whatever ends the run."""

from __future__ import annotations

import contextlib
import pathlib
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from score_sde.devices import Devices
from score_sde.errors import UserError
from score_sde.training.checkpoints import Checkpoints, checkpoint_folder, saved_steps
from score_sde.training.earlier_step import go_back
from score_sde.training.interrupts import Interrupts
from score_sde.training.kept_averages import drop_after
from score_sde.training.lock import alone_in
from score_sde.training.progress import Progress
from score_sde.training.record import Record, Watch
from score_sde.training.run import Run
from score_sde.training.start import Weights, start
from score_sde.training.state import TrainState
from score_sde.training.task import Plan, Task


class Finished(NamedTuple):
    """The result of training."""

    state: TrainState
    figures: dict[str, Any]
    """The last figures: step, loss (mean since the last log line), those of the evaluators, images_per_second, seconds
    (of this call), checkpoint_step, and stopped_by, the signal that ended the run early or None."""


def train_task(
    task: Task,
    plan: Plan,
    split: Any,
    workdir: str | pathlib.Path,
    devices: Devices,
    weights: Weights | None = None,
    watch: Sequence[Watch] = (),
) -> Finished:
    """Train as planned on the images of a split; checkpoints/, metrics.jsonl and tensorboard/ are written to `workdir`.

    Args:
      weights: initial parameters of a new run, unless there is a checkpoint to resume from (start.py).
      watch: factories of watchers that receive everything the run records (record.py).

    Raises:
      UserError: a checkpoint of something else, or past the last step; another run in the folder; a file that cannot be
        written; or a loss that is not finite (`NotFinite`). The last good checkpoint is kept.
    """
    began = time.perf_counter()
    folder = pathlib.Path(workdir)
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone_in(folder))
        if plan.from_step:
            if plan.from_step in saved_steps(checkpoint_folder(folder)):
                check_not_past(plan, plan.from_step, folder)
            go_back(folder, plan.from_step)
        interrupts = stack.enter_context(Interrupts())
        checkpoints = stack.enter_context(
            Checkpoints(
                folder, plan.keep_checkpoints, plan.keep_every, plan.keep_best, plan.keep_best_by
            )
        )
        checkpoints.remove_unfinished()
        state, how = start(task, checkpoints, devices, weights)
        step = int(state.step)
        check_not_past(plan, step, folder)
        # Record only after the checkpoint's shapes are checked, whose error says more, and after the data is loaded.
        task.record(folder)
        drop_after(folder, step)
        with (
            contextlib.closing(Record(folder, step, watch)) as record,
            Progress(step, plan.n_iters, plan.batch_size) as progress,
        ):
            run = Run(task, plan, devices, state, folder, checkpoints, record, progress)
            run.announce(split, how)
            stopped_by = run.updates(split, interrupts)
            figures = run.finish(stopped_by, interrupts)
    return Finished(run.state, {**figures, "seconds": time.perf_counter() - began})


def check_not_past(plan: Plan, step: int, folder: pathlib.Path) -> None:
    """Raise UserError if the folder is already past the planned number of updates."""
    if step > plan.n_iters:
        raise UserError(
            f"n_iters={plan.n_iters}, but {folder} is at step {step} already; set n_iters to {step} or more, or give "
            "another folder"
        )
