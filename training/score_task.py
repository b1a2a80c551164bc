"""Training a score network: `train(config, workdir)`."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import optax
from jax import Array

from score_sde import data
from score_sde.configs.default import check_options
from score_sde.data.batch import Batch
from score_sde.data.fingerprint import Fingerprint
from score_sde.devices import build_devices
from score_sde.errors import ConfigError
from score_sde.files import user_path
from score_sde.measurements.condition_image import check_condition
from score_sde.models.networks import (
    build_network,
    check_asks_for_conditions,
    conditions_of,
    projection_of,
)
from score_sde.models.noisy_classifier import NoisyClassifierNetwork
from score_sde.progress import say
from score_sde.sde_lib import SDE, build_sde
from score_sde.training.checkpoints import checkpoint_folder, saved_steps
from score_sde.training.environment import record_environment
from score_sde.training.evaluators import EVALUATORS, Builder
from score_sde.training.frozen import (
    first_weights,
    frozen_names,
    frozen_weights,
    joined,
    keep,
    trained_part,
    with_frozen,
)
from score_sde.training.init_from import say_other_classes, weights_of
from score_sde.training.known_classes import check_every_class, known_classes
from score_sde.training.loop import train_task
from score_sde.training.loss_history import LossHistory, empty_history
from score_sde.training.low_rank_task import adapting
from score_sde.training.objective import Objective, build_objective, key_of_step
from score_sde.training.optimizer import build_optimizer, learning_rate
from score_sde.training.origin import origin_of
from score_sde.training.record import Watch
from score_sde.training.recorded_config import check_goes_on, record_config
from score_sde.training.same_data import check_same_data
from score_sde.training.settings import check_config
from score_sde.training.start import Weights
from score_sde.training.state import ema_rate, init_params
from score_sde.training.task import Evaluator, Plan
from score_sde.training.undrawn import say_undrawn


@dataclasses.dataclass(frozen=True)
class ScoreTask:
    """A network and its objective as a Task (task.py)."""

    config: Any
    network: Any
    objective: Objective
    optimizer: optax.GradientTransformation
    evaluators: Mapping[str, Evaluator] = dataclasses.field(default_factory=dict)
    dataset: Fingerprint | None = None
    classes: tuple[str, ...] = ()
    """The names of the classes that the network learns, in the order of their labels."""
    origin: dict[str, Any] | None = None
    """The weights that a new run starts from (origin.py)."""
    constants: Any = ()
    """The frozen parameters (frozen.py), or other constants of the loss, such as a teacher."""
    quick_init: bool = True
    advice: str = "Try a smaller optim.lr, a longer optim.warmup, or model.dtype=float32"

    @property
    def name(self) -> str:
        return f"{self.config.model.name} of {self.config.data.name}"

    @property
    def trainable(self) -> str:
        return self.config.training.trainable

    @property
    def widths(self) -> tuple[float, ...]:
        return tuple(self.config.training.ema.sigma_rel)

    @property
    def spread(self) -> tuple[str, ...]:
        """Describe the schedules that depend on training.n_iters; they jump when a resumed run changes it."""
        return ("the learning rate (optim.decay)",) if self.config.optim.decay == "cosine" else ()

    @property
    def frozen(self) -> Any:
        """The parameters that no update changes; () for most networks."""
        return self.constants if frozen_names(self.network) else ()

    def as_begun(self, folder: pathlib.Path) -> Self:
        """Return the task with its constants loaded; a run that resumes in this folder uses the ones it began with."""
        return self

    def init(self) -> Any:
        return trained_part(self.network, init_params(self.config, self.network))

    def losses(
        self, params: Any, averaged: Any, constants: Any, step: Array, batch: Batch
    ) -> Array:
        return self.objective.training_losses(joined(params, constants), batch, self.key(step))

    def key(self, step: Array) -> Array:
        return key_of_step(self.config.seed, step)

    def first_history(self) -> LossHistory | tuple[()]:
        cells = self.config.training.time_cells
        return empty_history(cells) if cells else ()

    def recalling(self, history: LossHistory | tuple[()]) -> Self:
        objective = dataclasses.replace(self.objective, history=history)
        return dataclasses.replace(self, objective=objective)

    def remembered(
        self, history: LossHistory | tuple[()], step: Array, losses: Array
    ) -> LossHistory | tuple[()]:
        objective = self.recalling(history).objective
        return objective.history_after(losses, self.key(step))

    @functools.cached_property
    def groups(self) -> tuple[str, ...]:
        # With importance-sampled times the losses are weighted, and group means would not be comparable.
        return () if self.config.training.time_cells else self.objective.bin_names()

    def group_of(self, step: Array, batch: Batch) -> Array:
        return self.objective.noise_bins(batch.index, self.key(step))

    def projected(self, params: Any) -> Any:
        return projection_of(self.network)(params)

    def learning_rate(self, step: Array) -> Array:
        return learning_rate(self.config)(step)

    def ema_rate(self, step: Array) -> Array:
        return ema_rate(self.config, step)

    def record(self, folder: pathlib.Path) -> None:
        newest = max(saved_steps(checkpoint_folder(folder)), default=None)
        if newest is None:
            keep(self.frozen, folder)
        changed = record_config(
            self.config, folder, newest, self.dataset, self.classes, self.origin
        )
        if "training.n_iters" in changed and self.spread:
            n_iters = self.config.training.n_iters
            say(
                f"training.n_iters changed: {' and '.join(self.spread)} will continue from step {newest} of the new schedule of {n_iters} updates"
            )
        record_environment(folder, newest or 0)


class Kind(NamedTuple):
    """A kind of task that is built from a config; training.task names one (kinds.py)."""

    build: Callable[[Any, SDE | None], ScoreTask]
    """Builds the task, without evaluators, from a config and an optional SDE."""
    conditions: Callable[[Any], tuple[str, ...]]
    """Returns the names of the conditions that must be loaded with each image, such as "label"."""
    evaluators: Mapping[str, Builder]
    draws: bool = True
    """Whether the trained model can be sampled from."""


def build_score_task(config: Any, sde: SDE | None = None) -> ScoreTask:
    """Build the task that config describes, without evaluators.

    Raises:
      UserError: a setting that cannot work.
    """
    check_options(config)
    network = build_network(config)
    objective = build_objective(config, network, sde or build_sde(config))
    return ScoreTask(config, network, objective, build_optimizer(config))


def with_weights(task: ScoreTask, workdir: pathlib.Path) -> tuple[ScoreTask, Weights | None]:
    """Return the task with its frozen parameters and constants, and the weights that a new run starts from, if any.

    The frozen parameters are read from the working directory if the run resumes there, otherwise from their source.

    Raises:
      UserError: there are no such parameters.
    """
    config, task = task.config, task.as_begun(workdir)
    if frozen_names(task.network) and config.training.lora.rank:
        raise ConfigError(
            f"training.lora.rank={config.training.lora.rank} with model.name={config.model.name!r}: LoRA and a ControlNet both freeze the base "
            "network; use only one of them"
        )
    frozen = frozen_weights(config, task.network, workdir, begins=True)
    first = weights_of(config) or first_weights(config, task.network, frozen)
    return (dataclasses.replace(task, constants=frozen) if frozen else task), first


SCORE = Kind(build_score_task, conditions_of, EVALUATORS)


def check_begins(config: Any, workdir: pathlib.Path) -> list[int]:
    """Refuse a run that can neither begin in this folder nor resume; return the steps of the folder's checkpoints.

    Raises:
      UserError: a setting that cannot work in this folder.
    """
    # Without a checkpoint, no config of the folder is binding yet, and there are no classes to know.
    goes_on = saved_steps(checkpoint_folder(workdir))
    if goes_on or config.checkpoint_step:
        # Check before any checkpoint is moved, and before the folder's files are read under this config.
        check_goes_on(config, workdir)
        return goes_on
    check_condition(config)
    if config.training.task == "classifier":
        NoisyClassifierNetwork.from_config(config).check_attention()
    else:
        check_asks_for_conditions(config)
    return goes_on


def train(
    config: Any,
    workdir: str | pathlib.Path,
    evaluators: Mapping[str, Evaluator] | None = None,
    sde: SDE | None = None,
    watch: Sequence[Watch] = (),
    kind: Kind = SCORE,
) -> dict[str, Any]:
    """Train the network of `config`, or another task of this `kind`, in the existing directory `workdir`.

    For the state that a run begins with, see start.py.

    Args:
      evaluators: further evaluators, in addition to those of `kind`.
      sde: the process, if it is already built.
      watch: factories of watchers that receive everything the run records (record.py).
      kind: the entry of KINDS (kinds.py) that config.training.task names.

    Returns:
      The last figures: those of `train_task`, eval_loss (held out, averaged weights) or None, and the network's class names.

    Raises:
      UserError: a setting that cannot work, detected before anything is compiled; and as for `train_task`.
    """
    check_config(config)
    goes_on = check_begins(config, pathlib.Path(workdir))
    devices, task = build_devices(config), kind.build(config, sde)
    task, weights = with_weights(task, pathlib.Path(workdir))
    conditions = kind.conditions(config)
    known = known_classes(config, pathlib.Path(workdir))
    datasets = data.load(config, conditions=conditions, whole=True, classes=known)
    check_same_data(datasets)
    built = {
        name: build(config, task.objective, datasets, devices)
        for name, build in kind.evaluators.items()
    }
    every = {
        name: with_frozen(evaluator, task.frozen)
        for name, evaluator in {**built, **(evaluators or {})}.items()
    }
    told = "label" in conditions or config.data.label >= 0
    task = dataclasses.replace(
        task,
        evaluators=every,
        dataset=datasets.fingerprint,
        classes=(datasets.class_names or ()) if told else (),
        # Before the weights are read: of a checkpoint that comes between, a replay is refused, not made with others.
        origin=None if goes_on else origin_of(config),
    )
    if not goes_on and "label" in conditions:
        check_every_class(config, task.classes)
    if not goes_on and config.training.init_from and task.classes:
        say_other_classes(user_path(config.training.init_from), task.classes)
    say_undrawn(config, task.objective.loss)
    plan = Plan.from_config(config, config.training, from_step=config.checkpoint_step)
    plan = dataclasses.replace(plan, averages_freq=config.training.ema.save_freq)
    adapted, weights = adapting(config, task, pathlib.Path(workdir), weights)
    figures = train_task(adapted, plan, datasets.train, workdir, devices, weights, watch).figures
    names = datasets.class_names if "label" in conditions else None
    recorded = {"classes": list(names)} if names else {}
    return {"eval_loss": None, **recorded, **figures}
