"""One data-parallel update of the weights.

Each device computes the loss and gradient of its share of the batch, and these are averaged over the devices. The state is
replicated on every device, or sharded across them (devices/sharded.py). It is donated, so an update needs no second copy of it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from score_sde.data.batch import Batch
from score_sde.devices import STATE, Devices, Mapped, Shares
from score_sde.training.accumulation import mean_and_gradient
from score_sde.training.feed import Given, batch_of
from score_sde.training.groups import GROUPS, Grouped, sums_of
from score_sde.training.loss_history import Remembering, of_places
from score_sde.training.power_average import exponent, gain
from score_sde.training.state import TrainState, moved, update_ema
from score_sde.training.task import Projected, Task
from score_sde.training.trainable import trainable, where

Metrics = dict[str, Any]


class Totals(NamedTuple):
    """Quantities summed over the devices' shares of a batch."""

    groups: Any
    """The Sums of each group's losses, for a Grouped task; otherwise ()."""
    losses: Any
    """The loss of every image in the global batch, (B,), for a run with a loss history (loss_history.py); otherwise ()."""


ARGUMENTS = (STATE, False, False, True)
"""How the arguments of `build_train_step` (state, constants, resident, given) are placed on the devices."""


def update(
    task: Task,
    devices: Devices,
    state: TrainState,
    constants: Any,
    resident: Any,
    given: Given,
    skip_nonfinite: bool = False,
    accumulation: int = 1,
) -> tuple[TrainState, Metrics]:
    """Perform one update, inside a program that runs on all devices.

    Args:
      skip_nonfinite: if the loss or the gradient norm is not finite, advance the step counters and leave the rest of the state
        unchanged.
      accumulation: number of parts in which each device processes its share of the batch.

    Returns:
      The next state, and the metrics of this update: the loss, the gradient norm before clipping, and the learning rate;
      for a Grouped task also the Sums of its groups.
    """
    before, chosen = state, trainable(task.trainable, state.params)
    state = projected(task, state)
    joined = joined_shares(task, devices, state, constants, resident, given, accumulation)
    loss, gradient = joined.mean
    updates, opt_state = task.optimizer.update(gradient, state.opt_state, state.params)
    # Select the old values rather than zero the updates: weight decay and old moments move even parameters without a gradient.
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
        metrics[GROUPS] = joined.total.groups
    history = (
        task.remembered(state.history, state.step, joined.total.losses)
        if isinstance(task, Remembering)
        else state.history
    )
    after = TrainState(state.step + 1, params, ema_params, opt_state, averages, history)
    if skip_nonfinite:
        good = jnp.isfinite(loss) & jnp.isfinite(metrics["grad_norm"])
        after = chosen_state(good, after, before)
    return after, metrics


def projected(task: Task, state: TrainState) -> TrainState:
    """Return the state at which the gradient is evaluated, with the trainable parameters of a Projected task projected."""
    if not isinstance(task, Projected):
        return state
    params = where(
        trainable(task.trainable, state.params), task.projected(state.params), state.params
    )
    return dataclasses.replace(state, params=params)


def joined_shares(
    task: Task,
    devices: Devices,
    state: TrainState,
    constants: Any,
    resident: Any,
    given: Given,
    accumulation: int,
) -> Shares:
    """Return the batch's mean loss and gradient, its Totals and each image's loss, joined over all devices.

    Must be called inside a program that runs on all devices.
    """

    def share(state: TrainState, constants: Any, resident: Any, given: Given) -> Shares:
        batch = batch_of(resident, given)
        now = task.recalling(state.history) if isinstance(task, Remembering) else task
        (loss, losses), gradient = losses_and_gradient(
            now, state, constants, batch, accumulation, devices.platform == "cpu"
        )
        sums = sums_of(now, state.step, batch, losses) if isinstance(now, Grouped) else ()
        whole = len(losses) * len(devices.devices)
        to_remember = of_places(losses, batch.index, whole) if state.history else ()
        # All devices have the same number of images, so the mean of their means is the mean over the batch.
        return Shares((loss, gradient), Totals(sums, to_remember), losses)

    arguments = (state, constants, resident, given)
    return devices.joined(share, arguments, ARGUMENTS, like=(state.step, state.params))


def losses_and_gradient(
    task: Task, state: TrainState, constants: Any, batch: Batch, accumulation: int, unrolled: bool
) -> tuple[tuple[Array, Array], Any]:
    """Return the mean loss of a device's share of the batch, the loss of each image, and the gradient of the mean."""
    chosen = trainable(task.trainable, state.params)

    def mean_loss(params: Any, part: Batch) -> tuple[Array, Array]:
        params = where(chosen, params, jax.lax.stop_gradient(params))
        losses = task.losses(params, state.ema_params, constants, state.step, part)
        return jnp.mean(losses), losses

    return mean_and_gradient(mean_loss, state.params, batch, accumulation, unrolled)


def power_gain(width: str, step: Array) -> Array:
    """Return the gain of a power-function average of this width for the update after `step` updates."""
    return gain(exponent(float(width)), 1.0 / (step + 1).astype(jnp.float32))


def chosen_state(good: Array, after: TrainState, before: TrainState) -> TrainState:
    """Return `after` if `good`, otherwise `before` with its step counters advanced."""

    def choose(new: Any, old: Any) -> Any:
        # The schedule counts skipped steps too, so that the learning rate used at a step is the one recorded for it.
        return new if isinstance(new, optax.ScaleByScheduleState) else jnp.where(good, new, old)

    chosen = jax.tree.map(
        choose, after, before, is_leaf=lambda node: isinstance(node, optax.ScaleByScheduleState)
    )
    return chosen.replace(step=after.step)


def build_train_step(
    task: Task, devices: Devices, skip_nonfinite: bool = False, accumulation: int = 1
) -> Mapped:
    """Build the compiled `train_step(state, constants, resident, given) -> (state, metrics)`, which performs k updates.

    The arguments of `train_step`:
      state: donated; the caller must not use it again.
      constants: the task's constants, replicated on every device.
      resident: the training images and conditions (n, ...) on every device, or None if batches are streamed.
      given: the inputs of k updates, Rows of `resident` or a Batch, with leaves (b, k, ...) split over the devices (feed.py).

    Each of the returned metrics is (k, ...). For k = 1 the update is called directly, because inside `lax.scan` the gradient
    of a convolution is 26 times slower on a CPU (jax#12868).
    """

    def train_step(
        state: TrainState, constants: Any, resident: Any, given: Given
    ) -> tuple[TrainState, Metrics]:
        def one(state: TrainState, given: Given) -> tuple[TrainState, Metrics]:
            inputs = (state, constants, resident, given)
            return update(task, devices, *inputs, skip_nonfinite, accumulation)

        if given.index.shape[1] > 1:
            updates = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), given)
            return jax.lax.scan(one, state, updates)
        state, metrics = one(state, jax.tree.map(lambda leaf: leaf[:, 0], given))
        return state, jax.tree.map(lambda value: value[None], metrics)

    return devices.program(train_step, ARGUMENTS, out_mapped=(STATE, False), donate=(0,))


def is_finite(figures: dict[str, float]) -> bool:
    """Whether an update's loss and gradient norm are finite, that is, whether the weights before it are sound."""
    return math.isfinite(figures["loss"]) and math.isfinite(figures["grad_norm"])


def each_step(metrics: dict[str, Any]) -> list[dict[str, float]]:
    """Split the metrics of a call into the figures of each of its updates."""
    return [
        {name: float(values[i]) for name, values in metrics.items() if name != GROUPS}
        for i in range(len(metrics["loss"]))
    ]
