"""Going back to an earlier step of a run (--mode train with config.checkpoint_step)."""

from __future__ import annotations

import shutil
from pathlib import Path

import jax

from score_sde.errors import UserError
from score_sde.files import cannot_write
from score_sde.progress import say
from score_sde.training.checkpoints import checkpoint_folder, saved_steps
from score_sde.training.kept_averages import set_aside_after
from score_sde.training.manifest import damage
from score_sde.training.recorded_config import FILE as CONFIG
from score_sde.unfinished import all_hosts_meet


def go_back(workdir: Path, step: int) -> None:
    """Make the checkpoint of `step` the newest.

    Later checkpoints are moved to <workdir>/after_step_<step>, with copies of metrics.jsonl and config.json. If that folder exists, the
    run has already gone back to this step and nothing is done, so that the same command continues the run after an interruption.
    The folder is created even if there is no later checkpoint.

    Raises:
      UserError: there is no such checkpoint, or it is damaged; nothing is moved.
    """
    folder = checkpoint_folder(workdir)
    aside, moving = workdir / f"after_step_{step}", workdir / f"after_step_{step}.moving"
    been = aside.exists()
    if been:
        say(
            f"this run already went back to step {step}, so it continues from its newest checkpoint; to go back "
            f"again, rename {aside}"
        )
    else:
        _check(folder, step)  # on every host: if only one raised, the others would wait forever
    all_hosts_meet("a step to go back to")
    if jax.process_index() == 0 and not been:
        try:
            later = _move(folder, step, moving)
            moving.rename(aside)
            if later:
                say(f"back to step {step}; what came after it is in {aside}")
        except OSError as error:
            raise cannot_write(aside, error) from error
    all_hosts_meet("an earlier step")


def _check(folder: Path, step: int) -> None:
    steps = saved_steps(folder)
    if step not in steps:
        there = ", ".join(map(str, steps)) or "none"
        raise UserError(
            f"checkpoint_step={step}: {folder} has checkpoints of the steps {there}; choose one of them to go back to, "
            "or 0 to continue from the newest"
        )
    if problem := damage(folder / str(step)):
        raise UserError(
            f"checkpoint_step={step}: that checkpoint in {folder} is damaged ({problem}); choose another"
        )


def _move(folder: Path, step: int, target: Path) -> list[int]:
    """Move the later checkpoints to `target` and return their steps.

    The caller renames `target` when all is there, so an interrupted move is completed by the next attempt.
    """
    later = [saved for saved in saved_steps(folder) if saved > step]
    target.mkdir(exist_ok=True)
    # Copy the config too, since the run's own will forget what changed in the steps that are moved.
    for record in (folder.parent / "metrics.jsonl", folder.parent / CONFIG):
        if record.exists() and not (target / record.name).exists():
            shutil.copyfile(record, target / record.name)
    for saved in later:
        (folder / str(saved)).rename(target / str(saved))
    set_aside_after(folder.parent, step, target)
    return later
