"""Training a flow for the noise within a level, under a score model that stays as it is.

The objective is the bound itself (objective.py): its gradient reaches the flow through ln q, and through x0, on which the score
model's error at every noise level depends. The optimiser is Adam with a clip and a cosine; the averaged weights are the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from score_sde.devices import AXIS, Devices, build_devices, host_share
from score_sde.errors import UserError
from score_sde.likelihood.dequantization.flow import (
    DequantizationFlow,
    FlowDequantizer,
    init_params,
)
from score_sde.likelihood.dequantization.objective import IntegerImageBound, build_bound
from score_sde.likelihood.dequantization.trained import build_flow, image_shape, write_record
from score_sde.models.score import ScoreModel
from score_sde.progress import progress_bar
from score_sde.sde_lib import SDE
from score_sde.training.checkpoints import Checkpoints
from score_sde.training.interrupts import Interrupts
from score_sde.training.loop import due
from score_sde.training.record import Record
from score_sde.training.state import TrainState, update_ema

STREAM = 100  # apart from the streams of training/objective.py, of the same seed
EMA_RATE = 0.99
CLIP = (
    1.0  # norm of a gradient in bits/dim: several times the usual one, so it catches the exceptions
)
LOG_FREQ = 50  # updates


class Trained(NamedTuple):
    """The flow with averaged weights, the updates made, and the signal that ended them early, or None."""

    dequantizer: FlowDequantizer
    step: int
    stopped_by: str | None


def train_dequantizer(
    config: Any, score: ScoreModel, sde: SDE, split: Any, folder: Path, show: bool = True
) -> Trained:
    """Train the flow of config.dequantizer in `folder`, from the newest checkpoint there if there is one.

    Args:
      score: the score model; an argument of the compiled step, never updated.
      split: the training images (data/splits.py), integer levels.
      folder: of this dequantiser, see trained.py.
      show: whether to show a bar.

    Raises:
      UserError: the folder holds a flow with other options, or the loss is not finite.

    Cost: an evaluation of the score and its backward pass for each image of each update.
    """
    options, flow, devices = config.dequantizer, build_flow(config), build_devices(config)
    write_record(config, folder)
    optimizer = build_optimizer(options.lr, options.n_iters)

    def fresh() -> TrainState:
        params = init_params(flow, image_shape(config), stream_key(config.seed, 0))
        copy = jax.tree.map(jnp.copy, params)  # donated apart
        return TrainState(jnp.zeros((), jnp.int32), params, copy, optimizer.init(params))

    with Interrupts() as interrupts, Checkpoints(folder, keep=1) as checkpoints:
        if checkpoints.latest_step is None:
            state = jax.jit(fresh, out_shardings=devices.replicated())()
        else:
            state = checkpoints.restore(jax.eval_shape(fresh))
        step = int(state.step)
        bound = build_bound(config, sde)
        update = build_update(bound, flow, optimizer, options.batch_size, split.shape, devices)
        batches = split.batches(
            config.seed, options.batch_size, step, jax.process_index(), jax.process_count()
        )
        key = stream_key(config.seed, 1)
        places = devices.split(host_share(options.batch_size))
        remaining = max(options.n_iters - step, 0)
        with (
            Record(folder, step) as record,
            progress_bar(remaining, "dequantiser", "step", show) as bar,
        ):
            log = Log(config.seed, record, bar)
            while step < options.n_iters and interrupts.received is None:
                state, loss = update(state, score, key, devices.split(next(batches).images), places)
                step += 1
                log.add(step, loss)
                if due(options.checkpoint_freq, step - 1, step):
                    log.flush(step)  # a state that is not finite must not replace a good one
                    checkpoints.save(step, devices.checkpointable(state))
                if checkpoints.reached_preemption(step):
                    interrupts.received = "SIGTERM"
            log.flush(step)
        checkpoints.save(step, devices.checkpointable(state))
    return Trained(FlowDequantizer(state.ema_params, flow), step, interrupts.received)


def stream_key(seed: int, purpose: int) -> Array:
    """0: the first parameters, 1: updates, 2: comparison."""
    return jax.random.fold_in(jax.random.key(seed), STREAM + purpose)


def build_optimizer(lr: float, n_iters: int) -> optax.GradientTransformation:
    """clip -> Adam, with a rate that falls from lr to 0 along half a cosine over the run."""
    return optax.chain(
        optax.clip_by_global_norm(CLIP), optax.adam(optax.cosine_decay_schedule(lr, n_iters))
    )


def build_update(
    bound: IntegerImageBound,
    flow: DequantizationFlow,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    shape: tuple[int, ...],
    devices: Devices,
) -> Callable[..., tuple[TrainState, Array]]:
    """The compiled `update(state, score, key, images, places) -> (state, loss)`.

    Its arguments: the state, donated; the score model; a key of the run; integer images (b, h, w, c); and where
    they stand in the global batch, int32 (b,); both split over the devices. The loss is in bits/dim but for the offset.
    """
    per_bit = 1.0 / (math.prod(shape) * math.log(2))

    def update(
        state: TrainState, score: ScoreModel, key: Array, images: Array, places: Array
    ) -> tuple[TrainState, Array]:
        step_key = jax.random.fold_in(key, state.step)

        def mean_loss(params: Any) -> Array:
            nats = bound(FlowDequantizer(params, flow), score, images, step_key, places, batch_size)
            return per_bit * jnp.mean(nats)

        loss, gradient = jax.lax.pmean(jax.value_and_grad(mean_loss)(state.params), AXIS)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # As training/state.py warms its average up, which forgets the first weights.
        rate = jnp.minimum(EMA_RATE, (2.0 + state.step) / (11.0 + state.step))
        ema_params = update_ema(state.ema_params, params, rate)
        return TrainState(state.step + 1, params, ema_params, opt_state), loss

    mapped = (False, False, False, True, True)
    return devices.data_parallel(update, mapped, out_mapped=False, donate=(0,))


class Log:
    """Losses, read a while after they were made, so that the device need not wait."""

    def __init__(self, seed: int, record: Record, bar: Any):
        self.seed, self.record, self.bar = seed, record, bar
        self.losses: list[Array] = []

    def add(self, step: int, loss: Array) -> None:
        self.losses.append(loss)
        if len(self.losses) > 1:
            self.losses[-2].block_until_ready()
            self.bar.update(1)
        if step % LOG_FREQ == 0:
            self.flush(step)

    def flush(self, step: int) -> None:
        """Write the mean loss since the last line.

        Raises:
          UserError: one of them is not finite.
        """
        if not self.losses:
            return
        losses = np.array(jax.device_get(self.losses))
        self.bar.update(1)
        if not np.isfinite(losses).all():
            bad = step - len(losses) + 1 + int(np.argmin(np.isfinite(losses)))
            raise UserError(
                f"update {bad} of the dequantiser (seed {self.seed}) has loss {losses[bad - step - 1]}, so it stops; the "
                "checkpoint before it stays. Try a smaller dequantizer.lr, or a larger likelihood.eps"
            )
        self.record.write(step, loss=float(losses.mean()))
        self.bar.set_postfix_str(f"loss {losses.mean():.4g}", refresh=False)
        self.losses = []
