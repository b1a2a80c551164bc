"""Checkpoints: <workdir>/checkpoints/<step>, written by Orbax in the background, read strictly.

A checkpoint is a TrainState without a device axis, so it does not depend on how many devices wrote it, nor on how it lay on them. Orbax
writes to a temporary name and renames at the end: a save that is killed leaves the one before it the newest.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from score_sde.devices import on_any_host, placed, replicated
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
from score_sde.training.state import TrainState, parts
from score_sde.training.staying import Staying
from score_sde.unfinished import all_hosts_meet

BEST = -1  # in the place of a step: the one of the least held-out loss, or other figure

# What Orbax raises of files that are not there or not as they were.
UNREADABLE = (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError)


class Checkpoints:
    """The checkpoints of one working directory; a context manager, which waits for saves at its end."""

    def __init__(
        self,
        workdir: str | pathlib.Path,
        keep: int = 0,
        keep_every: int = 0,
        keep_best: int = 0,
        best_by: str | None = None,
    ):
        """Open a folder, and say which checkpoints stay.

        The `keep` latest stay (0: all), those of multiples of `keep_every` (0: none), and the best ones (see staying.py): those of
        the least figure of the name `best_by`; None: of that by which the run compared that wrote the newest.

        Raises:
          UserError: there is no folder for them, and none can be made.
        """
        self.folder = checkpoint_folder(workdir)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        self.best_by_given = best_by
        self.saving: int | None = None
        self.figures: Figures = {}  # of the one that is being saved
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
        # What ended the run says more than a save that failed for the same reason.
        with self._saved() if error is None else contextlib.suppress(Exception):
            self.manager.close()

    @property
    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint."""
        return max(saved_steps(self.folder), default=None)

    @property
    def best_by(self) -> str:
        """The name of the figure by which one is better than another."""
        if self.best_by_given is not None or self.latest_step is None:
            return self.best_by_given or HELD_OUT
        return read_about(self.folder / str(self.latest_step)).best_by

    def judged(self) -> dict[int, float]:
        """Step -> that figure, of those of which it is known; also of the one that is being saved."""
        figures = {
            step: read_about(self.folder / str(step)).figures for step in saved_steps(self.folder)
        }
        if self.saving is not None:
            figures[self.saving] = self.figures
        best_by = self.best_by
        return {step: of[best_by] for step, of in figures.items() if best_by in of}

    def save(self, step: int, state: TrainState, figures: Figures | None = None) -> None:
        """Save in the background; the state, arrays of all hosts, may be donated as soon as this returns.

        Args:
          figures: what is known of this state, by name; kept with it.

        Raises:
          UserError: this checkpoint or the one before cannot be written; the last that was written stays.
        """
        self.wait()
        if step != self.latest_step:
            self.saving, self.figures = step, figures or {}
            with self._saved():
                self.manager.save(step, args=ocp.args.PyTreeSave(parts(state)))

    def add_figures(self, step: int, figures: Figures) -> None:
        """Keep what is found of a state after it was saved with its checkpoint."""
        self.wait()
        folder = self.folder / str(step)
        if jax.process_index() == 0 and not figures.items() <= read_about(folder).figures.items():
            write_later(folder, figures)

    def wait(self) -> None:
        """Until what was saved is on disk.

        Raises:
          UserError: it cannot be written.
        """
        with self._saved():
            self.manager.wait_until_finished()

    def reached_preemption(self, *steps: int) -> bool:
        """Whether the scheduler of a multi-host run has announced its end for one of these steps, the same answer on all hosts.

        JAX chooses the step after the last that a host has asked about, and knows it again by equality alone: every step has to be
        asked about, those within a call too.
        """
        asked = [self.manager.reached_preemption(step) for step in steps]
        return any(asked)

    def remove_unfinished(self) -> None:
        """Saves that were killed or found no room; only for who is alone in the folder."""
        if jax.process_index() == 0:
            for path in self.folder.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(path, ignore_errors=True)

    def set_aside_after(self, step: int) -> None:
        """Move the newer ones, which are damaged, to <workdir>/damaged_checkpoints, so that their steps can come again."""
        newer = [saved for saved in saved_steps(self.folder) if saved > step]
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
        """A checkpoint, whole on every device or where the template's leaves lie.

        Args:
          template: the shapes of the state that the config makes (`jax.eval_shape`), with shardings or without.
          step: which one; 0: the newest that is not damaged.

        Raises:
          UserError: there is no such checkpoint, it is damaged, or its names or shapes are not the template's.
        """
        item = parts(template)
        found, _ = self._restore(step, item)
        return TrainState(**found)

    def restore_part(self, name: str, template: Any, step: int = 0) -> tuple[Any, int]:
        """One field of a state, such as its averaged parameters, and its step; nothing else is read.

        Raises:
          UserError: as `restore`.
        """
        found, step = self._restore(step, {name: template})
        return found[name], step

    def _restore(self, step: int, item: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """These fields of that step, or for 0 of the newest that can be read, and its step."""
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
            f"{self.folder}: {'; '.join(damaged)}; {rest}put back a copy, or begin again in another folder"
        )

    def _check_format(self, step: int) -> None:
        found = read_about(self.folder / str(step)).format
        if found > FORMAT:
            raise UserError(
                f"the checkpoint of step {step} in {self.folder} has format {found}, and this version reads formats up to "
                f"{FORMAT}: use the version that wrote it, or a newer one"
            )

    def _candidates(self, step: int) -> list[int]:
        """That step, for 0 all, the newest first, for BEST the best."""
        steps = saved_steps(self.folder)
        if not steps:
            raise no_checkpoint(self.folder)
        if step == BEST:
            judged = self.judged()
            if not judged:
                raise UserError(
                    f"checkpoint_step={BEST}: no checkpoint in {self.folder} has the figure {self.best_by}, by which they are "
                    "compared; train with training.keep_best=1 or more, or choose one of the steps "
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
        # Partial: what the template does not ask for stays on the disk.
        args = ocp.args.PyTreeRestore(item=target, restore_args=restore_args, partial_restore=True)
        return self.manager.restore(step, args=args)

    def _write_beside(self) -> None:
        """Called by Orbax when all files of a checkpoint are written, before it gets its name and older ones go."""
        if jax.process_index() == 0:
            for folder in self.folder.glob(f"{self.saving}.orbax-checkpoint-tmp*"):
                write_about(folder, self.figures, self.best_by)
                write_manifest(folder)

    @contextlib.contextmanager
    def _saved(self) -> Iterator[None]:
        """Say in a sentence that a save failed."""
        try:
            yield
        except Exception as error:
            if self.saving is None:  # nothing was: another process may be saving here
                raise
            self.remove_unfinished()
            raise UserError(
                f"the checkpoint of step {self.saving} cannot be written to {self.folder} ({first_line(error)}); "
                f"{kept(self.latest_step)}. Make room, then give the same command again"
            ) from error


def of_any_host(problem: str | None) -> str | None:
    """What one host finds is a problem of all, which must read the same checkpoint."""
    anywhere = on_any_host(np.array([problem is not None])).any()
    return problem or ("as another host finds" if anywhere else None)


def saved_steps(folder: pathlib.Path) -> list[int]:
    """The steps of the complete checkpoints in a folder, the newest last."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def kept(step: int | None) -> str:
    """Which checkpoint is left, for a message."""
    return "there is no checkpoint yet" if step is None else f"the checkpoint of step {step} stays"


def first_line(error: BaseException) -> str:
    """In short; of tensorstore's account of a system call that failed, only what the system says."""
    said = getattr(error, "strerror", None) or str(error)
    text = (said.strip().splitlines() or [type(error).__name__])[0]
    found = re.search(r"([^:]+) \[os_error_code=", text)
    return found.group(1).strip() if found else text[:300]


def restore_part(
    workdir: str | pathlib.Path, name: str, template: Any, step: int = 0
) -> tuple[Any, int]:
    """A field of the TrainState of a checkpoint in `workdir`, and its step.

    Args:
      step: which checkpoint; 0: the newest.

    Raises:
      UserError: there is no such checkpoint, or its names or shapes are not the template's.
    """
    # Looking for a checkpoint in the wrong place must not leave a folder there.
    if not checkpoint_folder(workdir).is_dir():
        raise no_checkpoint(checkpoint_folder(workdir))
    with Checkpoints(workdir) as checkpoints:
        return checkpoints.restore_part(name, template, step)


def restore_ema(workdir: str | pathlib.Path, template: Any, step: int = 0) -> tuple[Any, int]:
    """The averaged parameters of a checkpoint in `workdir`, and its step.

    Args:
      template: the parameters, or their shapes: `jax.eval_shape(lambda: init_params(config, network))`.
      step: which checkpoint; 0: the newest.

    Raises:
      UserError: as `restore_part`.
    """
    return restore_part(workdir, "ema_params", template, step)


def checkpoint_folder(workdir: str | pathlib.Path) -> pathlib.Path:
    """The folder of checkpoints within a working directory."""
    return pathlib.Path(workdir).absolute() / "checkpoints"


def no_checkpoint(folder: pathlib.Path) -> UserError:
    """The error for a folder without checkpoints."""
    return UserError(
        f"no checkpoint in {folder}; train first, with the same config and working directory: "
        f"python main.py --mode train --config CONFIG --workdir {folder.parent}"
    )
