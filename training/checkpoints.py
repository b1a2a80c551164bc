"""Checkpoints in <workdir>/checkpoints/<step>, written by Orbax in the background and validated strictly when read.

A checkpoint is a TrainState without a device axis, so it depends neither on the number of devices that wrote it nor on how the state
was sharded. Orbax writes under a temporary name and renames at the end, so an interrupted save leaves the previous checkpoint the newest.
"""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from score_sde.devices import of_first_host, on_any_host, placed, replicated
from score_sde.errors import UserError
from score_sde.files import cannot_write
from score_sde.progress import say
from score_sde.training.about import (
    FORMAT,
    HELD_OUT,
    Figures,
    read_about,
    write_about,
    write_later,
)
from score_sde.training.manifest import damage, write_manifest
from score_sde.training.named_shapes import check_same, shapes
from score_sde.training.orbax_errors import UNREADABLE, first_line
from score_sde.training.state import TrainState, parts
from score_sde.training.staying import Staying
from score_sde.unfinished import all_hosts_meet

BEST = -1  # in place of a step: the checkpoint with the lowest held-out loss, or other figure


class Checkpoints:
    """The checkpoints of one working directory; a context manager that waits for pending saves on exit."""

    def __init__(
        self,
        workdir: str | pathlib.Path,
        keep: int = 0,
        keep_every: int = 0,
        keep_best: int = 0,
        best_by: str | None = None,
    ):
        """Open, or create, the checkpoint folder and set which checkpoints are kept (staying.py).

        Args:
          keep: number of latest checkpoints to keep; 0: all.
          keep_every: keep the checkpoints at multiples of this many steps; 0: none.
          keep_best: number of checkpoints with the lowest figure `best_by` to keep; 0: none.
          best_by: name of the figure that ranks checkpoints; None: the one used by the run that wrote the newest checkpoint.

        Raises:
          UserError: the folder does not exist and cannot be created.
        """
        self.folder = checkpoint_folder(workdir)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        self.best_by_given = best_by
        self.saving: int | None = None
        self.figures: Figures = {}  # of the checkpoint that is being saved
        self.manager = ocp.CheckpointManager(
            self.folder,
            item_handlers=ocp.PyTreeCheckpointHandler(),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=Staying(keep, keep_every, keep_best, self.judged),
                async_options=ocp.AsyncOptions(post_finalization_callback=self._write_beside),
            ),
        )

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        # If an error ended the run, do not hide it behind a save that failed for the same reason.
        with self._saved() if error is None else contextlib.suppress(Exception):
            self.manager.close()

    @property
    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint."""
        return max(saved_steps(self.folder), default=None)

    @property
    def best_by(self) -> str:
        """The name of the figure that ranks checkpoints; lower is better."""
        if self.best_by_given is not None or self.latest_step is None:
            return self.best_by_given or HELD_OUT
        return read_about(self.folder / str(self.latest_step)).best_by

    def judged(self) -> dict[int, float]:
        """Return step -> ranking figure for all checkpoints with such a figure, including one that is being saved."""
        figures = {
            step: read_about(self.folder / str(step)).figures for step in saved_steps(self.folder)
        }
        if self.saving is not None:
            figures[self.saving] = self.figures
        best_by = self.best_by
        return {step: of[best_by] for step, of in figures.items() if best_by in of}

    def save(self, step: int, state: TrainState, figures: Figures | None = None) -> None:
        """Save in the background; the state, made of global arrays, may be donated as soon as this returns.

        Args:
          figures: figures of this state, by name, stored with the checkpoint.

        Raises:
          UserError: this checkpoint or the previous one cannot be written; the last one written is kept.
        """
        self.wait()
        if step != self.latest_step:
            self.saving, self.figures = step, figures or {}
            with self._saved():
                self.manager.save(step, args=ocp.args.PyTreeSave(parts(state)))

    def add_figures(self, step: int, figures: Figures) -> None:
        """Add figures that were measured after the state was saved to its checkpoint."""
        self.wait()
        folder = self.folder / str(step)
        if jax.process_index() == 0 and not figures.items() <= read_about(folder).figures.items():
            write_later(folder, figures)

    def wait(self) -> None:
        """Wait until the pending save is on disk.

        Raises:
          UserError: it cannot be written.
        """
        with self._saved():
            self.manager.wait_until_finished()

    def reached_preemption(self, *steps: int) -> bool:
        """Whether a multi-host run is preempted by its scheduler at one of these steps; the answer is the same on all hosts.

        JAX chooses the step after the last one that any host has asked about, and only compares for equality. So every step must
        be asked about, including those within a call.
        """
        asked = [self.manager.reached_preemption(step) for step in steps]
        return any(asked)

    def remove_unfinished(self) -> None:
        """Delete saves that were interrupted or ran out of disk space; the caller must hold the folder's lock."""
        if jax.process_index() == 0:
            for path in self.folder.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(path, ignore_errors=True)

    def set_aside_after(self, step: int) -> None:
        """Move the damaged checkpoints newer than `step` to <workdir>/damaged_checkpoints, so that their steps can be saved again."""
        newer = [saved for saved in saved_steps(self.folder) if saved > step]
        all_hosts_meet("newer checkpoints")  # before the first moves what another has yet to list
        if not newer:
            return
        target = self.folder.with_name("damaged_checkpoints")
        if jax.process_index() == 0:
            target.mkdir(exist_ok=True)
            for saved in newer:
                shutil.rmtree(target / str(saved), ignore_errors=True)
                (self.folder / str(saved)).rename(target / str(saved))
            say(f"the damaged checkpoints are now in {target}")
        all_hosts_meet("damaged checkpoints")
        self.manager.reload()

    def restore(self, template: TrainState, step: int = 0) -> TrainState:
        """Restore a checkpoint with the shardings of the template, by default replicated on every device.

        Args:
          template: the shapes of the state that the config describes (`jax.eval_shape`), with or without shardings.
          step: the step to restore; 0: the newest checkpoint that is not damaged; BEST: the best one.

        Raises:
          UserError: there is no such checkpoint, it is damaged, or its names or shapes differ from the template's.
        """
        item = parts(template)
        found, _ = self._restore(step, item)
        return TrainState(**found)

    def restore_part(self, name: str, template: Any, step: int = 0) -> tuple[Any, int]:
        """Restore one field of a state, such as the averaged parameters, and return it with its step; nothing else is read.

        Raises:
          UserError: as for `restore`.
        """
        found, step = self._restore(step, {name: template})
        return found[name], step

    def _restore(self, step: int, item: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Restore the fields in `item` from this step (0: the newest readable checkpoint) and return them with the step."""
        damaged: list[str] = []
        for candidate in self._candidates(step):
            problem = of_any_host(damage(self.folder / str(candidate)))
            if problem is None:
                self._check_format(candidate)
                try:
                    stored = shapes(self.manager.item_metadata(candidate).tree)
                    stored = {k: v for k, v in stored.items() if k.partition(".")[0] in item}
                    check_same(candidate, stored, shapes(item))
                    found = self._read(candidate, item)
                except UNREADABLE as error:
                    problem = f"cannot be read: {first_line(error)}"
                problem = of_any_host(problem)
                if problem is None:
                    if damaged:
                        say(f"{'; '.join(damaged)}: using the one of step {candidate}")
                    return found, candidate
            damaged.append(f"the checkpoint of step {candidate} is damaged ({problem})")
        others = [str(saved) for saved in saved_steps(self.folder) if saved != step]
        rest = f"choose one of {', '.join(others)}, or " if step and others else ""
        raise UserError(
            f"{self.folder}: {'; '.join(damaged)}; {rest}put back a copy, or start again in another folder"
        )

    def _check_format(self, step: int) -> None:
        found = read_about(self.folder / str(step)).format
        if found > FORMAT:
            raise UserError(
                f"the checkpoint of step {step} in {self.folder} has format {found}, and this version reads formats up to "
                f"{FORMAT}: use the version that wrote it, or a newer one"
            )

    def _candidates(self, step: int) -> list[int]:
        """Return the steps to try, as the first host sees them: `step` itself, all (newest first) for 0, or the best one for BEST."""
        steps = of_first_host(saved_steps(self.folder))
        if not steps:
            raise no_checkpoint(self.folder)
        if step == BEST:
            judged = dict(of_first_host([*self.judged().items()]))
            if not judged:
                raise UserError(
                    f"checkpoint_step={BEST}: no checkpoint in {self.folder} has the figure {self.best_by}, by which they are "
                    "ranked; train with training.keep_best=1 or more, or choose one of the steps "
                    f"{', '.join(map(str, steps))}"
                )
            return [min(judged, key=lambda step: judged[step])]
        if step and step not in steps:
            raise UserError(
                f"checkpoint_step={step}: {self.folder} has the steps {', '.join(map(str, steps))}; "
                "choose one of them, or 0 for the newest"
            )
        return [step] if step else steps[::-1]

    def _read(self, step: int, template: Any) -> Any:
        target = jax.tree.map(lambda leaf: placed(leaf, leaf.sharding or replicated()), template)
        restore_args = ocp.checkpoint_utils.construct_restore_args(target)
        # Partial: arrays that are not in the template are not read.
        args = ocp.args.PyTreeRestore(item=target, restore_args=restore_args, partial_restore=True)
        return self.manager.restore(step, args=args)

    def _write_beside(self) -> None:
        """Write about.json and the checksums; Orbax calls this before it renames a checkpoint and deletes older ones."""
        if jax.process_index() == 0:
            for folder in self.folder.glob(f"{self.saving}.orbax-checkpoint-tmp*"):
                write_about(folder, self.figures, self.best_by)
                write_manifest(folder)

    @contextlib.contextmanager
    def _saved(self) -> Iterator[None]:
        """Turn the exceptions of a failed save into a UserError."""
        try:
            yield
        except Exception as error:
            if self.saving is None:  # this process saved nothing; another one may be saving here
                raise
            self.remove_unfinished()
            raise UserError(
                f"the checkpoint of step {self.saving} cannot be written to {self.folder} ({first_line(error)}); "
                f"{kept(self.latest_step)}. Free some space, then run the same command again"
            ) from error


def of_any_host(problem: str | None) -> str | None:
    """Return a problem if any host has found one, so that all hosts read the same checkpoint."""
    anywhere = on_any_host(np.array([problem is not None])).any()
    return problem or ("found by another host" if anywhere else None)


def saved_steps(folder: pathlib.Path) -> list[int]:
    """Return the steps of the complete checkpoints in a folder, newest last."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def kept(step: int | None) -> str:
    """Describe, for a message, which checkpoint remains."""
    return (
        "there is no checkpoint yet" if step is None else f"the checkpoint of step {step} is kept"
    )


def restore_part(
    workdir: str | pathlib.Path, name: str, template: Any, step: int = 0
) -> tuple[Any, int]:
    """Restore a field of the TrainState from a checkpoint in `workdir` and return it with its step.

    Args:
      step: the step to restore; 0: the newest.

    Raises:
      UserError: there is no such checkpoint, or its names or shapes differ from the template's.
    """
    # Looking for a checkpoint in the wrong place must not create a folder there.
    if not checkpoint_folder(workdir).is_dir():
        raise no_checkpoint(checkpoint_folder(workdir))
    with Checkpoints(workdir) as checkpoints:
        return checkpoints.restore_part(name, template, step)


def restore_ema(workdir: str | pathlib.Path, template: Any, step: int = 0) -> tuple[Any, int]:
    """Restore the averaged parameters from a checkpoint in `workdir` and return them with their step.

    Args:
      template: the parameters, or their shapes: `jax.eval_shape(lambda: init_params(config, network))`.
      step: the step to restore; 0: the newest.

    Raises:
      UserError: as for `restore_part`.
    """
    return restore_part(workdir, "ema_params", template, step)


def checkpoint_folder(workdir: str | pathlib.Path) -> pathlib.Path:
    """Return the checkpoint folder of a working directory."""
    return pathlib.Path(workdir).absolute() / "checkpoints"


def no_checkpoint(folder: pathlib.Path) -> UserError:
    """Build the error for a folder without checkpoints."""
    return UserError(
        f"no checkpoint in {folder}; train first, with the same config and working directory: "
        f"python main.py --mode train --config CONFIG --workdir {folder.parent}"
    )
