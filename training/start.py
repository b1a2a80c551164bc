"""How a run begins. The first of these that there is:

1. the newest checkpoint in its folder: the run goes on, bit for bit, and need not find again what it began with;
2. weights that it is given, such as those of training.init_from: parameters and average both begin there, at step 0,
   with a fresh optimizer;
3. the task's first parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from score_sde.devices import Devices
from score_sde.training.checkpoints import Checkpoints
from score_sde.training.memory import Needed, check_fits, size
from score_sde.training.state import TrainState, first_state
from score_sde.training.task import Task
from score_sde.training.trainable import trainable


class Weights(NamedTuple):
    """Parameters from somewhere else."""

    source: str
    """Where from, in words."""
    read: Callable[[Any], Any]
    """The shapes of the task's parameters -> parameters of these; refuses others."""


class Start(NamedTuple):
    state: TrainState
    """On every device, or split over them (devices/sharded.py)."""
    how: str
    """In words; empty: from scratch."""


def start(
    task: Task, checkpoints: Checkpoints, devices: Devices, weights: Weights | None = None
) -> Start:
    """What a run begins with.

    Raises:
      UserError: before anything is compiled: what there is has other names or shapes, `task.trainable` names nothing, or the
        devices cannot share such a state.
    """
    shapes = state_shapes(task)
    trainable(task.trainable, shapes.params)
    template = devices.template(shapes)
    # At least the state and a gradient, or where these are split the gathered parameters: what an update needs besides is
    # known when it is compiled.
    least = Needed(size(template), 0, size(shapes.params))
    check_fits(least, f"training {task.name}")
    if checkpoints.latest_step is not None:
        restored = checkpoints.restore(template)
        checkpoints.set_aside_after(step := int(restored.step))
        return Start(restored, f"resuming from step {step}: {checkpoints.folder}")
    return Start(
        fresh(task, devices, weights), f"beginning from {weights.source}" if weights else ""
    )


def state_shapes(task: Task) -> TrainState:
    """The shapes of the task's state."""
    return jax.eval_shape(lambda: first_state(task.init(), task.optimizer, task.widths))


def fresh(task: Task, devices: Devices, weights: Weights | None = None) -> TrainState:
    """The state at step 0, where the devices have it.

    Raises:
      UserError: weights of other shapes.
    """

    def state(params: Any = None) -> TrainState:
        return first_state(task.init() if params is None else params, task.optimizer, task.widths)

    shapes = state_shapes(task)
    places = jax.tree.map(devices.place, shapes)
    params = None
    if weights:
        params = jax.device_put(jax.device_get(weights.read(shapes.params)), places.params)
    quick = task.quick_init and jax.default_backend() == "cpu"
    options = {"xla_backend_optimization_level": 0} if quick else None
    return jax.jit(state, out_shardings=places, compiler_options=options)(params)
