"""Training networks that generate samples in one or a few steps (training.task=consistency and mean_flow)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Self

import jax
from jax import Array

from score_sde.configs.default import check_options
from score_sde.data import Datasets
from score_sde.data.batch import Batch
from score_sde.devices import Devices
from score_sde.errors import ConfigError
from score_sde.models.consistency import ConsistencyModel
from score_sde.models.networks import build_network, conditions_of
from score_sde.models.parameterization import build_parameterization
from score_sde.models.predictions import AverageFlowPrediction
from score_sde.options import choose
from score_sde.sde_lib import SDE, build_sde
from score_sde.training.consistency import ConsistencyLoss, Intervals, doubled
from score_sde.training.evaluators import EVALUATORS, held_out_loss
from score_sde.training.mean_flow import MeanFlow, MeanFlowObjective
from score_sde.training.objective import Objective, build_objective
from score_sde.training.optimizer import build_optimizer
from score_sde.training.score_task import Kind, ScoreTask
from score_sde.training.task import Evaluator
from score_sde.training.teacher import keep_teacher, teacher_of_run
from score_sde.training.times import build_times
from score_sde.training.weightings import (
    CONSISTENCY_WEIGHTINGS,
    FLOW_WEIGHTINGS,
    build_weighting,
)


def check_few_step_training(config: Any) -> None:
    """Check the config for settings that only apply to losses of the score.

    Raises:
      ConfigError: a setting of this kind.
    """
    task = config.training.task
    if config.model.name == "controlnet":
        raise ConfigError(
            f"model.name='controlnet' with training.task={task!r}: a ControlNet is trained only by losses of the score; set training.task='score'"
        )
    expected = (
        ("training", "continuous", True),
        ("training", "learned_uncertainty", False),
        ("model", "learned_variance", False),
    )
    for section, name, value in expected:
        if config[section][name] != value:
            raise ConfigError(
                f"{section}.{name}={config[section][name]} with training.task={task!r}, which has no loss of that kind; set "
                f"{section}.{name}={value}"
            )


# ---- consistency ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ConsistencyObjective(Objective):
    """The objective of a consistency model."""

    loss: ConsistencyLoss

    def model(self, params: Any, condition: Any) -> ConsistencyModel:
        score = super().model(params, condition)
        return ConsistencyModel(score, self.loss.sde, self.loss.intervals.eps)


@dataclasses.dataclass(frozen=True)
class ConsistencyTask(ScoreTask):
    """A consistency model as a Task (task.py), with a schedule of time intervals; `constants` is the teacher, if any."""

    advice: str = "Try a smaller optim.lr, a longer optim.warmup, or model.predicts=edm"

    @property
    def name(self) -> str:
        return f"consistency model, {super().name}"

    def losses(
        self, params: Any, averaged: Any, constants: Any, step: Array, batch: Batch
    ) -> Array:
        objective = self.objective
        options, loss = self.config.consistency, self.consistency_loss
        count = doubled(
            options.first_intervals, options.last_intervals, step, self.config.training.n_iters
        )
        intervals = dataclasses.replace(loss.intervals, count=count)
        teacher = constants if jax.tree.leaves(constants) else None
        loss = dataclasses.replace(loss, intervals=intervals, teacher=teacher)
        objective = dataclasses.replace(objective, loss=loss)
        return objective.training_losses(params, batch, self.key(step))

    @property
    def spread(self) -> tuple[str, ...]:
        return *super().spread, "the number of time intervals (consistency.last_intervals)"

    def as_begun(self, folder: Path) -> Self:
        teacher = teacher_of_run(self.config, self.consistency_loss.sde, folder)
        return dataclasses.replace(self, constants=teacher)

    def record(self, folder: Path) -> None:
        keep_teacher(folder, self.config, self.constants)
        super().record(folder)

    @property
    def consistency_loss(self) -> ConsistencyLoss:
        """The loss with the final number of intervals and without a teacher, which is the one evaluated in every run."""
        loss: Any = self.objective.loss
        return loss


def check_consistency(config: Any, sde: SDE) -> ConsistencyLoss:
    """Check the config for consistency training and return the loss with the final number of intervals, without a teacher.

    The teacher is not checked here because it depends on the folder: a resumed run has its own copy (teacher.py).

    Raises:
      ConfigError: a setting that consistency training does not support.
    """
    check_few_step_training(config)
    training, options = config.training, config.consistency
    if options.last_intervals < options.first_intervals:
        raise ConfigError(
            f"consistency.first_intervals={options.first_intervals}, last_intervals={options.last_intervals}: the number doubles during training; "
            "set last_intervals to first_intervals or more"
        )
    weighting = choose("training.weighting", training.weighting, CONSISTENCY_WEIGHTINGS)
    huber = options.huber if options.metric == "pseudo_huber" else 0.0
    times = build_times(config, sde)
    intervals = Intervals(sde, training.eps, options.last_intervals)
    return ConsistencyLoss(
        sde, times, weighting(config, sde), intervals, huber, training.reduce_mean
    )


def build_consistency_task(config: Any, sde: SDE | None = None) -> ConsistencyTask:
    """Build the task that config describes, without evaluators, and without the teacher, which `as_begun` adds.

    Raises:
      UserError: a setting that cannot work.
    """
    check_options(config)
    sde = sde or build_sde(config)
    network = build_network(config)
    loss = check_consistency(config, sde)
    objective = build_objective(config, network, sde, loss, ConsistencyObjective)
    return ConsistencyTask(config, network, objective, build_optimizer(config))


CONSISTENCY = Kind(build_consistency_task, conditions_of, EVALUATORS)


# ---- MeanFlow ------------------------------------------------------------------------------------------


class MeanFlowTask(ScoreTask):
    """A network for the average velocity over an interval, and its loss, as a Task (task.py)."""

    @property
    def name(self) -> str:
        return f"average velocity, {super().name}"


def check_mean_flow(config: Any, sde: SDE) -> MeanFlow:
    """Check the config for MeanFlow training and return the loss.

    Raises:
      ConfigError: a setting that MeanFlow training does not support.
    """
    check_few_step_training(config)
    training = config.training
    network = build_network(config)
    if config.model.condition_interval and not getattr(network, "condition_interval", False):
        raise ConfigError(
            f"model.name={config.model.name!r} cannot be conditioned on an interval (model.condition_interval); use another network"
        )
    if not isinstance(build_parameterization(config, sde), AverageFlowPrediction):
        raise ConfigError(
            f"training.task='mean_flow' with model.predicts={config.model.predicts!r}, condition_interval={config.model.condition_interval} under "
            f"{type(sde).__name__}: the network must give the flow's average velocity over an interval; set model.predicts='flow' (or sde.name='linear') and "
            "model.condition_interval=True"
        )
    if config.sde.name != "linear":
        raise ConfigError(
            f"training.task='mean_flow' with sde.name={config.sde.name!r}: its velocity at time 0, where one step ends, may not be "
            "finite; set sde.name='linear'"
        )
    choose("training.weighting", training.weighting, FLOW_WEIGHTINGS)
    times, weighting = build_times(config, sde, to_noise=True), build_weighting(config, sde)
    options = config.mean_flow
    return MeanFlow(sde, times, weighting, training.reduce_mean, options.ratio, options.power)


def build_mean_flow_task(config: Any, sde: SDE | None = None) -> MeanFlowTask:
    """Build the task that config describes, without evaluators.

    Raises:
      UserError: a setting that cannot work.
    """
    check_options(config)
    sde = sde or build_sde(config)
    network = build_network(config)
    loss = check_mean_flow(config, sde)
    objective = build_objective(config, network, sde, loss, MeanFlowObjective)
    return MeanFlowTask(config, network, objective, build_optimizer(config))


def plain_held_out_loss(
    config: Any, objective: Objective, datasets: Datasets, devices: Devices
) -> Evaluator:
    """Build the evaluator of eval_loss as the plain squared error.

    With mean_flow.power=1 the error is divided by about itself, so the weighted loss is near 1 for every network.
    """
    loss: Any = objective.loss
    plain = dataclasses.replace(objective, loss=dataclasses.replace(loss, power=0.0))
    return held_out_loss(config, plain, datasets, devices)


MEAN_FLOW = Kind(
    build_mean_flow_task, conditions_of, {**EVALUATORS, "held_out_loss": plain_held_out_loss}
)
