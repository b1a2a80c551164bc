"""Replay a single update of a run to inspect it: the loss of each image and the gradient norm of each parameter.

All random numbers of an update follow from the seed and the step. So the updates from a checkpoint up to the one in question are simply
repeated, and nothing is written to the run's folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde import data
from score_sde.data.fingerprint import Fingerprint
from score_sde.devices import Devices
from score_sde.errors import UserError
from score_sde.training.checkpoints import Checkpoints, checkpoint_folder, saved_steps
from score_sde.training.feed import feed, stacked
from score_sde.training.field_roles import Role, role
from score_sde.training.origin import check_origin
from score_sde.training.progress import Progress
from score_sde.training.recorded_changes import as_of
from score_sde.training.recorded_config import DATASET, ORIGIN, as_json, differences, recorded
from score_sde.training.start import Weights, fresh, state_shapes
from score_sde.training.state import TrainState
from score_sde.training.step import ARGUMENTS, build_train_step, joined_shares, projected
from score_sde.training.task import Plan, Task

PLACES = ("data.folder", "data.file")


class Replayed(NamedTuple):
    """The images, losses and gradient norms of one update."""

    step: int
    from_checkpoint: int
    """The step of the checkpoint from which updates were repeated; 0: from the beginning of the run."""
    images: np.ndarray
    """The indices of the images in the split, (b,)."""
    losses: np.ndarray
    """The loss of each of these images, (b,)."""
    grad_norms: dict[str, float]
    """The norm of the gradient with respect to each parameter, by name."""

    @property
    def loss(self) -> float:
        return float(np.mean(self.losses, dtype=np.float64))

    @property
    def grad_norm(self) -> float:
        return float(np.linalg.norm(list(self.grad_norms.values())))


def replay(
    task: Task,
    plan: Plan,
    split: Any,
    workdir: Path,
    devices: Devices,
    step: int = 0,
    weights: Weights | None = None,
) -> Replayed:
    """Repeat update number `step` of the run in `workdir` and return its images, losses and gradient norms.

    Cost: all updates from the newest checkpoint before it or, if there is none, from the beginning of the run.

    Args:
      step: the update to inspect, counted from 1; 0: the one after the newest checkpoint.
      weights: the weights that the run began with, if any.

    Raises:
      UserError: the checkpoint is damaged or belongs to another network.
    """
    before = checkpoint_before(workdir, step)
    step = step or before + 1
    if before:
        with Checkpoints(workdir) as checkpoints:
            state = checkpoints.restore(devices.template(state_shapes(task)), before)
    else:
        state = fresh(task, devices, weights)
    resident, given = feed(plan.seed, plan.batch_size, split, before, devices)
    constants = jax.device_put(jax.device_get(task.constants), devices.replicated())
    train_step = build_train_step(task, devices, plan.skip_nonfinite > 0, plan.accumulation)
    with Progress(before, step - 1, plan.batch_size) as progress:
        for done in range(before + 1, step):
            state, metrics = train_step(
                state, constants, resident, devices.split(stacked([next(given)]))
            )
            jax.block_until_ready(metrics)
            progress.finished(done)
    look = _look(task, devices, plan.accumulation)
    losses, norms = look(state, constants, resident, devices.split(next(given)))
    images = data.batch_indices(plan.seed, step - 1, plan.batch_size, split.num_images)
    named = jax.tree_util.tree_leaves_with_path(jax.device_get(norms))
    return Replayed(
        step,
        before,
        images,
        devices.gather(losses, plan.batch_size),
        {jax.tree_util.keystr(path, simple=True, separator="."): float(of) for path, of in named},
    )


def checkpoint_before(workdir: Path, step: int) -> int:
    """Return the step of the newest checkpoint before update number `step` (0: the newest of all), or 0 if there is none."""
    steps = saved_steps(checkpoint_folder(workdir))
    return max((saved for saved in steps if not step or saved < step), default=0)


def check_same_updates(config: Any, workdir: Path, dataset: Fingerprint, step: int) -> None:
    """Check that the config and the images are those of the updates that `replay` repeats; the images may have moved.

    Raises:
      UserError: fields differ, or changed between these updates (the message lists them); or config.json is damaged.
    """
    earlier = recorded(workdir)
    if earlier is None:
        return
    before = checkpoint_before(workdir, step)
    step = step or before + 1
    first, then = as_of(earlier, before + 1), as_of(earlier, step)
    given = {**as_json(config), DATASET: {**then.get(DATASET, {}), **dataset._asdict()}}
    changed = [name for name, *_ in differences(first, then, {Role.MAY_CHANGE})]
    if changed := [name for name in changed if name not in PLACES]:
        raise UserError(
            f"replay_step={step}: {', '.join(changed)} changed between the checkpoint of step {before}, from which this update could be "
            f"made again, and the update (config.json in {workdir}); choose one before the change, or one after a later checkpoint"
        )
    other = [
        f"{name}={now!r} ({was!r})"
        for name, was, now in differences(then, given, {Role.MAY_CHANGE, Role.FREE})
        if name not in PLACES and (role(name) is Role.MAY_CHANGE or (name == ORIGIN and not before))
    ]
    if other:
        raise UserError(
            f"replay_step={step}: the update was made with another config: {', '.join(other)}; give the values in brackets"
        )
    if not before:
        check_origin(config, earlier, workdir)


def _look(task: Task, devices: Devices, accumulation: int) -> Any:
    """Build the compiled (state, constants, resident, given) -> (loss of each image, gradient norm of each parameter)."""

    def look(state: TrainState, constants: Any, resident: Any, given: Any) -> tuple[Array, Any]:
        inputs = (projected(task, state), constants, resident, given)
        joined = joined_shares(task, devices, *inputs, accumulation)
        _, gradient = joined.mean
        return joined.rows, jax.tree.map(jnp.linalg.norm, gradient)

    return devices.program(look, ARGUMENTS, out_mapped=(True, False))
