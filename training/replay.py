"""One update of a run again, looked into: which images had which loss, which parameters which gradient.

All that an update draws follows from the seed and the step, so the updates from a checkpoint to the one in question are made once
more, and nothing of the run is written to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde import data
from score_sde.devices import AXIS, Devices
from score_sde.training.checkpoints import Checkpoints, checkpoint_folder, saved_steps
from score_sde.training.feed import batch_of, feed, stacked
from score_sde.training.progress import Progress
from score_sde.training.start import Weights, fresh, state_shapes
from score_sde.training.state import TrainState
from score_sde.training.step import build_train_step, losses_and_gradient
from score_sde.training.task import Plan, Task


class Replayed(NamedTuple):
    """Of one update."""

    step: int
    from_checkpoint: int
    """0: from the run's beginning."""
    images: np.ndarray
    """Which of the split, (b,)."""
    losses: np.ndarray
    """Of each of these, (b,)."""
    grad_norms: dict[str, float]
    """Of the gradient in each parameter, by its name."""

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
    """Update number `step` of the run in `workdir`, the first being 1; 0: the one that follows the newest checkpoint.

    Cost: the updates from the newest checkpoint before it, or where none is, from the run's beginning.

    Args:
      weights: that the run began with, if any.

    Raises:
      UserError: the checkpoint is damaged, or one of another network.
    """
    steps = saved_steps(checkpoint_folder(workdir))
    before = max((saved for saved in steps if not step or saved < step), default=0)
    step = step or before + 1
    if before:
        with Checkpoints(workdir) as checkpoints:
            state = checkpoints.restore(state_shapes(task), before)
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


def _look(task: Task, devices: Devices, accumulation: int) -> Any:
    """The compiled (state, constants, resident, given) -> (losses of the images, norm of the gradient in each parameter)."""

    def look(state: TrainState, constants: Any, resident: Any, given: Any) -> tuple[Array, Any]:
        batch = batch_of(resident, given)
        (_, losses), gradient = losses_and_gradient(
            task, state, constants, batch, accumulation, devices.platform == "cpu"
        )
        return losses, jax.tree.map(jnp.linalg.norm, jax.lax.pmean(gradient, AXIS))

    return devices.data_parallel(look, mapped=(False, False, False, True), out_mapped=(True, False))
