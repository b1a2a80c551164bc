"""Training of a dequantization flow for a fixed score model.

The objective is the bound itself (objective.py). Its gradient reaches the flow through ln q and through x0, on which the score
model's error at every noise level depends. The optimizer is Adam with gradient clipping and cosine decay; the result is the EMA of the weights.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
from jax import Array

from score_sde.data.batch import Batch
from score_sde.devices import build_devices
from score_sde.keys import Stream, stream_key
from score_sde.likelihood.dequantization.flow import (
    DequantizationFlow,
    FlowDequantizer,
    init_params,
)
from score_sde.likelihood.dequantization.objective import IntegerImageBound, build_bound
from score_sde.likelihood.dequantization.trained import build_flow, write_record
from score_sde.likelihood.per_image import condition_image_of
from score_sde.measurements.condition_image import ConditionImage
from score_sde.models.score import ScoreModel, bind
from score_sde.sde_lib import SDE
from score_sde.training.loop import train_task
from score_sde.training.state import warmed_up
from score_sde.training.task import Evaluator, Plan

EMA_RATE = 0.99
# Maximum norm of the gradient of bits/dim: several times the typical one, so only outliers are clipped.
CLIP = 1.0


class Trained(NamedTuple):
    """The flow with EMA weights, the number of training steps, and the signal that ended training early, or None."""

    dequantizer: FlowDequantizer
    step: int
    stopped_by: str | None


@dataclasses.dataclass(frozen=True)
class DequantizerTask:
    """A flow and its bound as a Task (training/task.py), with the score model as its constants and losses in bits/dim."""

    config: Any
    constants: ScoreModel
    flow: DequantizationFlow
    bound: IntegerImageBound
    optimizer: optax.GradientTransformation
    image: ConditionImage | None = None
    name: str = "the dequantizer"
    trainable: str = ""
    widths: tuple[()] = ()
    quick_init: bool = False
    advice: str = "Try a smaller dequantizer.lr, or a larger likelihood.eps"
    evaluators: dict[str, Evaluator] = dataclasses.field(default_factory=dict)

    def init(self) -> Any:
        key = stream_key(self.config.seed, Stream.DEQUANTIZER_INIT)
        return init_params(self.flow, self.bound.space.shape, key)

    def losses(
        self, params: Any, averaged: Any, constants: ScoreModel, step: Array, batch: Batch
    ) -> Array:
        key = jax.random.fold_in(stream_key(self.config.seed, Stream.DEQUANTIZER_TRAIN), step)
        dequantizer, of = FlowDequantizer(params, self.flow), self.config.dequantizer.batch_size
        condition = batch.condition
        if self.image is not None:
            condition = self.image.in_use(batch.images, condition, key, batch.index)
        score = bind(constants, condition)
        nats = self.bound(dequantizer, score, batch.images, key, batch.index, of)
        # The constant offset is left out.
        return nats / (math.prod(self.bound.space.shape) * math.log(2))

    def learning_rate(self, step: Array) -> Array:
        return schedule(self.config.dequantizer)(step)

    def ema_rate(self, step: Array) -> Array:
        return warmed_up(EMA_RATE, step)

    def record(self, folder: Path) -> None:
        write_record(self.config, folder, self.constants)


def build_task(config: Any, score: ScoreModel, sde: SDE) -> DequantizerTask:
    """Build the task that config.dequantizer describes."""
    adam = optax.adam(schedule(config.dequantizer))
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), adam)
    flow, bound = build_flow(config), build_bound(config, sde)
    return DequantizerTask(config, score, flow, bound, optimizer, condition_image_of(config))


def train_dequantizer(
    config: Any, score: ScoreModel, sde: SDE, split: Any, folder: Path
) -> Trained:
    """Train the flow of config.dequantizer in `folder`, resuming from its newest checkpoint if there is one.

    Args:
      score: the score model, an argument of the compiled step that is never updated.
      split: the training images (data/splits.py), integer levels.
      folder: the folder of this dequantizer (see trained.py).

    Raises:
      UserError: the folder holds a flow with other options, or the loss is not finite.

    Cost: one evaluation of the score and its backward pass per image and training step.
    """
    task = build_task(config, score, sde)
    task.record(folder)  # its errors are clearer than those of mismatched checkpoint shapes
    plan = Plan.from_config(config, config.dequantizer)
    devices = build_devices(config)
    state, figures = train_task(task, plan, split, folder, devices)
    dequantizer = FlowDequantizer(devices.whole(state.ema_params), task.flow)
    return Trained(dequantizer, figures["step"], figures["stopped_by"])


def schedule(options: Any) -> optax.Schedule:
    """Cosine decay of the learning rate from lr to 0 over the run."""
    return optax.cosine_decay_schedule(options.lr, options.n_iters)
