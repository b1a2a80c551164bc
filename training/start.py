"""The state that a run begins with, which is the first available of:

1. the newest checkpoint in its folder: the run resumes bit for bit, and the weights it originally began with are not needed;
2. given weights, such as those of training.init_from: parameters and averages both start from them, at step 0, with a fresh
   optimizer;
3. the task's initial parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from score_sde.devices import Devices, of_first_host
from score_sde.training.checkpoints import Checkpoints
from score_sde.training.loss_history import Remembering
from score_sde.training.memory import Needed, check_fits, size
from score_sde.training.state import TrainState, first_state
from score_sde.training.task import Task
from score_sde.training.trainable import trainable


class Weights(NamedTuple):
    """Parameters from another source."""

    source: str
    """A description of the source."""
    read: Callable[[Any], Any]
    """Takes the shapes of the task's parameters and returns parameters of these shapes; raises UserError if they differ."""


class Start(NamedTuple):
    """The state that training begins with, and its origin."""

    state: TrainState
    """Replicated on every device, or sharded over them (devices/sharded.py)."""
    how: str
    """A description of the origin; empty if trained from scratch."""


def start(
    task: Task, checkpoints: Checkpoints, devices: Devices, weights: Weights | None = None
) -> Start:
    """Restore or initialize the state of a run.

    Raises:
      UserError: raised before anything is compiled: the checkpoint or weights have other names or shapes, `task.trainable` matches
        nothing, or the state does not fit on the devices.
    """
    first = traced(task, devices)
    # Drop the shardings: these are the shapes of whole arrays.
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), first.out_info)
    trainable(task.trainable, shapes.params)
    template = devices.template(shapes)
    # A lower bound: the state and a gradient or, if these are sharded, the gathered parameters. What else an update needs is
    # known only once it is compiled.
    least = Needed(size(template), 0, size(shapes.params))
    check_fits(least, f"training {task.name}")
    if of_first_host(checkpoints.latest_step) is not None:
        restored = checkpoints.restore(template)
        checkpoints.set_aside_after(step := int(restored.step))
        return Start(restored, f"resuming from step {step}: {checkpoints.folder}")
    if weights is None:
        return Start(compiled(first), "")
    return Start(begun(task, devices, weights, shapes), f"starting from {weights.source}")


def state_shapes(task: Task) -> TrainState:
    """Return the shapes of the task's state."""
    return jax.eval_shape(lambda: state_of(task, task.init()))


def state_of(task: Task, params: Any) -> TrainState:
    """Return the state at step 0 with these parameters."""
    history = task.first_history() if isinstance(task, Remembering) else ()
    return first_state(params, task.optimizer, task.widths, history)


def fresh(task: Task, devices: Devices, weights: Weights | None = None) -> TrainState:
    """Return the state at step 0, from given weights or the task's initial parameters, placed on the devices.

    Raises:
      UserError: the weights have other shapes.
    """
    if weights is None:
        return compiled(traced(task, devices))
    return begun(task, devices, weights, state_shapes(task))


def begun(task: Task, devices: Devices, weights: Weights, shapes: TrainState) -> TrainState:
    """Return the state at step 0 from weights, which must have these shapes, placed on the devices."""
    places = jax.tree.map(devices.place, shapes.params)
    params = jax.device_put(jax.device_get(weights.read(shapes.params)), places)
    return compiled(traced(task, devices, params), params)


def traced(task: Task, devices: Devices, *given: Any) -> jax.stages.Traced:
    """Trace, without compiling, the function that computes the state at step 0 from given or the task's initial parameters.

    The result's `out_info` has the shapes of the state, so the network need not be traced again for them.
    """

    def state(*given: Any) -> TrainState:
        return state_of(task, given[0] if given else task.init())

    quick = task.quick_init and jax.default_backend() == "cpu"
    options = {"xla_backend_optimization_level": 0} if quick else None
    places = devices.places(lambda: state_shapes(task))
    return jax.jit(state, out_shardings=places, compiler_options=options).trace(*given)


def compiled(state: jax.stages.Traced, *given: Any) -> TrainState:
    """Compile the traced function and return the state that it computes."""
    return state.lower().compile()(*given)
