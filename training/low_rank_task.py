"""Training low-rank adapters in place of the weights (models/low_rank.py): a Task that wraps any other.

Only A and B are trained, averaged and saved. The frozen weights are constants of the loss: they have no gradient, no optimizer state
and no average.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from score_sde.data.batch import Batch
from score_sde.keys import Stream, stream_key
from score_sde.models.low_rank import LowRank, count, first_adapters, merged
from score_sde.progress import say
from score_sde.training.checkpoints import checkpoint_folder, saved_steps
from score_sde.training.folder_weights import base_of, keep_base, low_rank_of
from score_sde.training.groups import Grouped
from score_sde.training.loss_history import Remembering
from score_sde.training.start import Weights
from score_sde.training.task import Evaluator, Task


@dataclasses.dataclass(frozen=True)
class LowRankTask:
    """Low-rank adapters of another task's parameters, as a Task (task.py)."""

    task: Task
    base: Any
    """The frozen parameters that the adapters update."""
    low_rank: LowRank
    seed: int

    # Matches all parameters, which are the adapters. The task is not Projected: a projection of the base does not apply to adapters.
    trainable = ""

    @property
    def name(self) -> str:
        return f"updates of rank {self.low_rank.rank} of {self.task.name}"

    @property
    def advice(self) -> str:
        return f"{self.task.advice}, or a smaller training.lora.alpha"

    @property
    def constants(self) -> Any:
        return self.task.constants, self.base

    @property
    def quick_init(self) -> bool:
        return self.task.quick_init

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return self.task.optimizer

    @property
    def widths(self) -> Iterable[float]:
        return self.task.widths

    @functools.cached_property
    def evaluators(self) -> Mapping[str, Evaluator]:
        """The wrapped task's evaluators, applied to the updated weights."""
        updated = jax.jit(self.updated)

        def shown(evaluator: Evaluator) -> Evaluator:
            return dataclasses.replace(
                evaluator,
                evaluate=lambda averaged, step: evaluator.evaluate(
                    updated(averaged, self.base), step
                ),
                draw=lambda averaged, step: evaluator.draw(updated(averaged, self.base), step),
            )

        return {name: shown(evaluator) for name, evaluator in self.task.evaluators.items()}

    def init(self) -> Any:
        return first_adapters(self.low_rank, self.base, stream_key(self.seed, Stream.INIT))

    def updated(self, adapters: Any, base: Any) -> Any:
        """Return the parameters of the wrapped task: the base with the adapters merged into it."""
        return merged(base, adapters, self.low_rank.scale)

    def losses(
        self, params: Any, averaged: Any, constants: Any, step: Array, batch: Batch
    ) -> Array:
        of_task, base = constants
        given = self.updated(params, base), self.updated(averaged, base)
        return self.task.losses(*given, of_task, step, batch)

    @property
    def groups(self) -> tuple[str, ...]:
        return self.task.groups if isinstance(self.task, Grouped) else ()

    def group_of(self, step: Array, batch: Batch) -> Array:
        if isinstance(self.task, Grouped):
            return self.task.group_of(step, batch)
        return jnp.zeros(batch.index.shape, jnp.int32)

    def first_history(self) -> Any:
        return self.task.first_history() if isinstance(self.task, Remembering) else ()

    def recalling(self, history: Any) -> LowRankTask:
        if not isinstance(self.task, Remembering):
            return self
        return dataclasses.replace(self, task=self.task.recalling(history))

    def remembered(self, history: Any, step: Array, losses: Array) -> Any:
        if not isinstance(self.task, Remembering):
            return ()
        return self.task.remembered(history, step, losses)

    def learning_rate(self, step: Array) -> Array | float:
        return self.task.learning_rate(step)

    def ema_rate(self, step: Array) -> Array | float:
        return self.task.ema_rate(step)

    def record(self, folder: Path) -> None:
        self.task.record(folder)
        if not saved_steps(checkpoint_folder(folder)):
            keep_base(folder, self.base)


def adapting(
    config: Any, task: Task, workdir: Path, weights: Weights | None
) -> tuple[Task, Weights | None]:
    """Return the task to train and its initial weights: both unchanged or, with training.lora, the task's adapters and None.

    The adapters update `weights` or, if the folder already has checkpoints of adapters, the base stored next to these.

    Raises:
      UserError: the base is missing or of another network, or the targets or the rank are impossible for this network.
    """
    low_rank = low_rank_of(config.training)
    if low_rank is None:
        return task, weights
    shapes = jax.eval_shape(task.init)
    jax.eval_shape(lambda: first_adapters(low_rank, shapes, jax.random.key(0)))
    if saved_steps(checkpoint_folder(workdir)):
        base, source = base_of(workdir, shapes), "the base weights kept in the folder"
    else:
        assert weights is not None  # check_low_rank (settings.py)
        base, source = jax.device_get(weights.read(shapes)), weights.source
    adapted = LowRankTask(task, base, low_rank, config.seed)
    trained = count(jax.eval_shape(adapted.init))
    say(f"adapting {source}: {trained:,} parameters are trained, {count(base):,} are frozen")
    return adapted, None
