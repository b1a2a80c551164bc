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
from score_sde.training.loss_history import Remembering
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
    """The state that training begins with, and where it came from."""

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
    first = traced(task, devices)
    # Without where they lie: they are of whole arrays.
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), first.out_info)
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
    if weights is None:
        return Start(compiled(first), "")
    return Start(begun(task, devices, weights, shapes), f"beginning from {weights.source}")


def state_shapes(task: Task) -> TrainState:
    """The shapes of the task's state."""
    return jax.eval_shape(lambda: state_of(task, task.init()))


def state_of(task: Task, params: Any) -> TrainState:
    """The state at step 0 of these parameters."""
    history = task.first_history() if isinstance(task, Remembering) else ()
    return first_state(params, task.optimizer, task.widths, history)


def fresh(task: Task, devices: Devices, weights: Weights | None = None) -> TrainState:
    """The state at step 0, where the devices have it.

    Raises:
      UserError: weights of other shapes.
    """
    if weights is None:
        return compiled(traced(task, devices))
    return begun(task, devices, weights, state_shapes(task))


def begun(task: Task, devices: Devices, weights: Weights, shapes: TrainState) -> TrainState:
    """The state at step 0 of these weights, which must have these shapes."""
    places = jax.tree.map(devices.place, shapes.params)
    params = jax.device_put(jax.device_get(weights.read(shapes.params)), places)
    return compiled(traced(task, devices, params), params)


def traced(task: Task, devices: Devices, *given: Any) -> jax.stages.Traced:
    """The state at step 0, of given parameters or of the task's first, not yet compiled.

    Its `out_info` has the shapes, so that the network is not traced again for them.
    """

    def state(*given: Any) -> TrainState:
        return state_of(task, given[0] if given else task.init())

    quick = task.quick_init and jax.default_backend() == "cpu"
    options = {"xla_backend_optimization_level": 0} if quick else None
    places = devices.places(lambda: state_shapes(task))
    return jax.jit(state, out_shardings=places, compiler_options=options).trace(*given)


def compiled(state: jax.stages.Traced, *given: Any) -> TrainState:
    """The state, computed by a compiled program."""
    return state.lower().compile()(*given)
