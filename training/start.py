"""How a run begins: from its newest checkpoint, or from scratch."""

from __future__ import annotations

import jax

from score_sde.devices import Devices
from score_sde.training.checkpoints import Checkpoints
from score_sde.training.state import TrainState, first_state
from score_sde.training.task import Task


def start(task: Task, checkpoints: Checkpoints, devices: Devices) -> TrainState:
    """The state that a run begins with, whole on every device."""

    def fresh() -> TrainState:
        return first_state(task.init(), task.optimizer)

    if checkpoints.latest_step is not None:
        return checkpoints.restore(jax.eval_shape(fresh))
    # It runs once: on a CPU, optimising its hundreds of small random draws takes longer than they do.
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(fresh, out_shardings=devices.replicated(), compiler_options=quick)()
