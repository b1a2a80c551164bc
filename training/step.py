"""One update of the weights, on all devices at once.

The mapped function sees one device's share of the batch, and only collectives over the axis of devices join the
shares. The state is whole on every device, one array with a copy on each, and donated, so an update needs no second
copy of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from score_sde.devices import AXIS, Devices
from score_sde.training.objective import Objective, Stream, stream_key
from score_sde.training.optimizer import learning_rate
from score_sde.training.state import TrainState, ema_rate, update_ema

Metrics = dict[str, Array]
TrainStep = Callable[..., tuple[TrainState, Metrics]]


def update(
    config: Any,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    images: Array,
    places: Array,
) -> tuple[TrainState, Metrics]:
    """One update, as one device sees it.

    Args:
      images: this device's share of the batch, (b, h, w, c) as stored.
      places: where those images stand in the global batch, int32 (b,); their random numbers follow from it.

    Returns:
      The next state, and scalars of this update: the loss, the norm of its gradient before the clip, and
      the learning rate.
    """
    key = jax.random.fold_in(stream_key(config.seed, Stream.TRAIN), state.step)

    def mean_loss(params: Any) -> Array:
        return jnp.mean(objective.training_losses(params, images, key, places))

    loss, gradient = jax.value_and_grad(mean_loss)(state.params)
    # The devices have equally many images, so the mean of their means is the mean over the batch.
    loss, gradient = jax.lax.pmean((loss, gradient), AXIS)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema_params = update_ema(state.ema_params, params, ema_rate(config, state.step))
    metrics = {
        "loss": loss,
        "grad_norm": optax.tree.norm(gradient),
        "learning_rate": learning_rate(config)(state.step),
    }
    return TrainState(state.step + 1, params, ema_params, opt_state), metrics


def build_train_step(
    config: Any,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    devices: Devices,
) -> TrainStep:
    """The compiled `train_step(state, resident, rows, places) -> (state, metrics)`.

    Its arguments:
      state: donated; the caller must not use it again.
      resident: the training images (n, h, w, c) on every device, or None when batches are streamed.
      rows: (b, k), split over the devices: indices into `resident`, or the images themselves, of k updates.
      places: (b,), split too, see `update`.

    The metrics are (k,) each. k = 1 calls the update directly: within `lax.scan` the gradient of a
    convolution is 26 times slower on a CPU (jax#12868).
    """

    def train_step(
        state: TrainState, resident: Any, rows: Array, places: Array
    ) -> tuple[TrainState, Metrics]:
        def one(state: TrainState, row: Array) -> tuple[TrainState, Metrics]:
            images = row if resident is None else resident[row]
            return update(config, objective, optimizer, state, images, places)

        if rows.shape[1] > 1:
            return jax.lax.scan(one, state, jnp.moveaxis(rows, 1, 0))
        state, metrics = one(state, rows[:, 0])
        return state, jax.tree.map(lambda value: value[None], metrics)

    return devices.data_parallel(
        train_step, mapped=(False, False, True, True), out_mapped=False, donate=(0,)
    )
