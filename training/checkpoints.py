"""Checkpoints: <workdir>/checkpoints/<step>, written by Orbax in the background, read strictly.

A checkpoint is a TrainState without a device axis, so it does not depend on how many devices wrote it. Orbax
writes to a temporary name and renames at the end: a save that is killed leaves the one before it the newest.
"""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

from score_sde.devices import replicated
from score_sde.errors import ConfigError, UserError
from score_sde.training.state import TrainState

SHOWN_DIFFERENCES = 10


class Checkpoints:
    """The checkpoints of one working directory; a context manager, which waits for saves at its end."""

    def __init__(self, workdir: str | pathlib.Path, keep: int = 0, keep_every: int = 0):
        """`keep` latest checkpoints stay (0: all), and those of steps that are multiples of `keep_every` (0: none)."""
        self.folder = checkpoint_folder(workdir)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.manager = ocp.CheckpointManager(
            self.folder,
            item_handlers=ocp.PyTreeCheckpointHandler(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep or None, keep_period=keep_every or None
            ),
        )

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.manager.close()

    @property
    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint."""
        return self.manager.latest_step()

    def save(self, step: int, state: TrainState) -> None:
        """Save in the background; the state, arrays of all hosts, may be donated as soon as this returns."""
        if step != self.latest_step:
            self.manager.save(step, args=ocp.args.PyTreeSave(state))

    def wait(self) -> None:
        self.manager.wait_until_finished()

    def reached_preemption(self, step: int) -> bool:
        """Whether the scheduler of a multi-host run has announced its end, the same answer on all hosts."""
        return self.manager.reached_preemption(step)

    def restore(self, template: TrainState, step: int = 0) -> TrainState:
        """A checkpoint, on every device.

        Args:
          template: the state that the config makes, or its shapes (`jax.eval_shape`).
          step: which one; 0: the newest.

        Raises:
          UserError: there is no such checkpoint, or its names or shapes are not the template's.
        """
        step = self._choose(step)
        check_same(step, self._stored(step), shapes(template))
        return self._read(step, template)

    def restore_ema(self, template: Any, step: int = 0) -> tuple[Any, int]:
        """The averaged parameters of a checkpoint and its step; nothing else is read.

        Raises:
          UserError: as `restore`.
        """
        step = self._choose(step)
        stored = {k: v for k, v in self._stored(step).items() if k.startswith("ema_params.")}
        item = {"ema_params": template}
        check_same(step, stored, shapes(item))
        return self._read(step, item, partial_restore=True)["ema_params"], step

    def _choose(self, step: int) -> int:
        """That step, or the newest for 0, if there is a checkpoint of it."""
        if self.latest_step is None:
            raise no_checkpoint(self.folder)
        steps = sorted(self.manager.all_steps())
        if step and step not in steps:
            raise UserError(
                f"checkpoint_step={step}: {self.folder} has the steps {', '.join(map(str, steps))}; "
                "choose one of them, or 0 for the newest"
            )
        return step or self.latest_step

    def _stored(self, step: int) -> dict[str, tuple[int, ...]]:
        return shapes(self.manager.item_metadata(step).tree)

    def _read(self, step: int, template: Any, **options: Any) -> Any:
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated()),
            template,
        )
        restore_args = ocp.checkpoint_utils.construct_restore_args(target)
        args = ocp.args.PyTreeRestore(item=target, restore_args=restore_args, **options)
        return self.manager.restore(step, args=args)


def restore_ema(workdir: str | pathlib.Path, template: Any, step: int = 0) -> tuple[Any, int]:
    """The averaged parameters of a checkpoint in `workdir`, and its step.

    Args:
      template: the parameters, or their shapes: `jax.eval_shape(lambda: init_params(config, network))`.
      step: which checkpoint; 0: the newest.

    Raises:
      UserError: there is no such checkpoint, or its names or shapes are not the template's.
    """
    # Looking for a checkpoint in the wrong place must not leave a folder there.
    if not checkpoint_folder(workdir).is_dir():
        raise no_checkpoint(checkpoint_folder(workdir))
    with Checkpoints(workdir) as checkpoints:
        return checkpoints.restore_ema(template, step)


def checkpoint_folder(workdir: str | pathlib.Path) -> pathlib.Path:
    return pathlib.Path(workdir).absolute() / "checkpoints"


def no_checkpoint(folder: pathlib.Path) -> UserError:
    return UserError(
        f"no checkpoint in {folder}; train first, with the same config and working directory: "
        f"python main.py --mode train --config CONFIG --workdir {folder.parent}"
    )


def refuse_chosen_step(config: Any, mode: str) -> None:
    """A checkpoint to use cannot be chosen where one is made."""
    if config.checkpoint_step:
        raise ConfigError(
            f"checkpoint_step={config.checkpoint_step} chooses what to sample from, to measure or to export; "
            f"--mode {mode} has no use for it: leave it out"
        )


def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every array in a tree, such as "params.Conv_0.kernel"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape)
        for path, leaf in leaves
    }


def check_same(
    step: int, stored: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]
) -> None:
    """Refuse a checkpoint that is not exactly what the config describes, before anything is read."""
    differences = []
    for name in sorted(stored.keys() | expected.keys()):
        if stored.get(name) != expected.get(name):
            in_file, in_config = stored.get(name, "absent"), expected.get(name, "absent")
            differences.append(f"  {name}: checkpoint {in_file}, config {in_config}")
    if not differences:
        return
    shown = differences[:SHOWN_DIFFERENCES]
    if len(differences) > len(shown):
        shown.append(f"  ... and {len(differences) - len(shown)} more")
    raise UserError(
        f"the checkpoint of step {step} does not fit the config: {len(differences)} arrays differ in name "
        "or shape. Use the config that it was trained with, or another folder.\n" + "\n".join(shown)
    )
