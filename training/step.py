"""One update of the weights, on all devices at once.

The mapped function sees one device's share of the batch, and only collectives over the axis of devices join the
shares. The state is whole on every device, one array with a copy on each, and donated, so an update needs no second
copy of it.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from score_sde.data.batch import Batch
from score_sde.devices import AXIS, Devices, Mapped
from score_sde.training.accumulation import mean_and_gradient
from score_sde.training.feed import Given, batch_of
from score_sde.training.groups import GROUPS, Grouped, sums_of
from score_sde.training.power_average import exponent, gain
from score_sde.training.state import TrainState, moved, update_ema
from score_sde.training.task import Task
from score_sde.training.trainable import trainable, where

Metrics = dict[str, Any]


def update(
    task: Task,
    state: TrainState,
    constants: Any,
    batch: Batch,
    skip_nonfinite: bool = False,
    accumulation: int = 1,
    unrolled: bool = False,
) -> tuple[TrainState, Metrics]:
    """One update, as one device sees it, from its share of the batch, in so many parts.

    Args:
      skip_nonfinite: leave all but the step as it was if the loss or the gradient's norm is not finite.
      unrolled: as of `mean_and_gradient`.

    Returns:
      The next state, and scalars of this update: the loss, the norm of its gradient before the clip, and
      the learning rate; of a task that tells images apart, the Sums of its groups too.
    """
    chosen = trainable(task.trainable, state.params)
    (loss, losses), gradient = losses_and_gradient(
        task, state, constants, batch, accumulation, unrolled
    )
    # The devices have equally many images, so the mean of their means is the mean over the batch.
    loss, gradient = jax.lax.pmean((loss, gradient), AXIS)
    updates, opt_state = task.optimizer.update(gradient, state.opt_state, state.params)
    # By bits, not by updates of zero: weight decay and old moments move what has no gradient.
    params = where(chosen, optax.apply_updates(state.params, updates), state.params)
    average = update_ema(state.ema_params, params, task.ema_rate(state.step))
    ema_params = where(chosen, average, state.ema_params)
    averages = {
        width: where(chosen, moved(of, params, power_gain(width, state.step)), of)
        for width, of in state.averages.items()
    }
    metrics = {
        "loss": loss,
        "grad_norm": optax.tree.norm(gradient),
        "learning_rate": jnp.asarray(task.learning_rate(state.step)),
    }
    if isinstance(task, Grouped):
        sums = sums_of(task, state.step, batch, losses)
        metrics[GROUPS] = jax.lax.psum(sums, AXIS)
    after = TrainState(state.step + 1, params, ema_params, opt_state, averages)
    if skip_nonfinite:
        good = jnp.isfinite(loss) & jnp.isfinite(metrics["grad_norm"])
        after = chosen_state(good, after, state)
    return after, metrics


def losses_and_gradient(
    task: Task, state: TrainState, constants: Any, batch: Batch, accumulation: int, unrolled: bool
) -> tuple[tuple[Array, Array], Any]:
    """The mean loss of a device's share of the batch, the losses of its images, and the mean's gradient."""
    chosen = trainable(task.trainable, state.params)

    def mean_loss(params: Any, part: Batch) -> tuple[Array, Array]:
        params = where(chosen, params, jax.lax.stop_gradient(params))
        losses = task.losses(params, state.ema_params, constants, state.step, part)
        return jnp.mean(losses), losses

    return mean_and_gradient(mean_loss, state.params, batch, accumulation, unrolled)


def power_gain(width: str, step: Array) -> Array:
    """How far the power-function average of a width moves in the update that follows `step` others."""
    return gain(exponent(float(width)), 1.0 / (step + 1).astype(jnp.float32))


def chosen_state(good: Array, after: TrainState, before: TrainState) -> TrainState:
    """`after`, or unless `good` the state before, one step further."""

    def choose(new: Any, old: Any) -> Any:
        # The schedule counts steps, whatever became of them, so that the rate of a step is the one that is recorded.
        return new if isinstance(new, optax.ScaleByScheduleState) else jnp.where(good, new, old)

    chosen = jax.tree.map(
        choose, after, before, is_leaf=lambda node: isinstance(node, optax.ScaleByScheduleState)
    )
    return chosen.replace(step=after.step)


def build_train_step(
    task: Task, devices: Devices, skip_nonfinite: bool = False, accumulation: int = 1
) -> Mapped:
    """The compiled `train_step(state, constants, resident, given) -> (state, metrics)`.

    Its arguments:
      state: donated; the caller must not use it again.
      constants: the task's, on every device.
      resident: the training images and conditions (n, ...) on every device, or None when batches are streamed.
      given: of k updates, Rows of `resident` or a Batch, leaves (b, k, ...) split over the devices: see feed.py.

    The metrics are (k, ...) each. k = 1 calls the update directly: within `lax.scan` the gradient of a
    convolution is 26 times slower on a CPU (jax#12868).
    """

    unrolled = devices.platform == "cpu"

    def train_step(
        state: TrainState, constants: Any, resident: Any, given: Given
    ) -> tuple[TrainState, Metrics]:
        def one(state: TrainState, given: Given) -> tuple[TrainState, Metrics]:
            batch = batch_of(resident, given)
            return update(task, state, constants, batch, skip_nonfinite, accumulation, unrolled)

        if given.index.shape[1] > 1:
            updates = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), given)
            return jax.lax.scan(one, state, updates)
        state, metrics = one(state, jax.tree.map(lambda leaf: leaf[:, 0], given))
        return state, jax.tree.map(lambda value: value[None], metrics)

    return devices.data_parallel(
        train_step, mapped=(False, False, False, True), out_mapped=False, donate=(0,)
    )


def is_finite(figures: dict[str, float]) -> bool:
    """Whether those of an update say that the weights it began with are good."""
    return math.isfinite(figures["loss"]) and math.isfinite(figures["grad_norm"])


def each_step(metrics: dict[str, Any]) -> list[dict[str, float]]:
    """The figures of each update of a call."""
    return [
        {name: float(values[i]) for name, values in metrics.items() if name != GROUPS}
        for i in range(len(metrics["loss"]))
    ]
