"""The interface of what the training loop (loop.py) trains: initial parameters, a per-image loss and an optimizer.

Examples are the score network (score_task.py) and the dequantizer (likelihood/dequantization/training.py). A task may also record
its loss for groups of images (groups.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import optax
from jax import Array
from PIL.Image import Image

from score_sde.data.batch import Batch
from score_sde.training.about import HELD_OUT


def nothing(averaged: Any, step: int) -> dict[str, Any]:
    """Return no figures and no pictures: the default of an Evaluator."""
    return {}


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """Evaluates the averaged parameters every `frequency` steps (0: never) and after the last step.

    `evaluate(averaged parameters, step) -> figures` returns numbers by name, which are recorded; one that is not finite ends the run.
    `draw(averaged parameters, step) -> pictures` returns pictures by name, which are passed to the run's watchers (record.py).
    `figures` are the names, or some of the names, of the figures that `evaluate` returns. When a run resumes after a signal that made it
    skip an evaluation, it recognizes the missing evaluation by them. For an evaluator without figures, `drawn(step)` tells whether the
    pictures of a step exist.
    """

    frequency: int
    evaluate: Callable[[Any, int], dict[str, float]] = nothing
    draw: Callable[[Any, int], dict[str, Image]] = nothing
    figures: tuple[str, ...] = ()
    drawn: Callable[[int], bool] = lambda step: True


class Task(Protocol):
    """What is trained. All randomness of an update must follow from the task's seed, the step and `batch.index`."""

    @property
    def name(self) -> str:
        """The task's name in the messages of a run."""
        ...

    @property
    def advice(self) -> str:
        """What to try when the loss is not finite."""
        ...

    @property
    def constants(self) -> Any:
        """Arrays that the loss needs and no update changes, replicated on every device; `()` for none."""
        ...

    @property
    def trainable(self) -> str:
        """A regular expression that matches somewhere in the names of the parameters to train (trainable.py)."""
        ...

    @property
    def quick_init(self) -> bool:
        """Whether to compile `init` without optimization.

        On a CPU, optimizing takes longer than computing hundreds of small random arrays, but their last bits depend on it.
        """
        ...

    @property
    def optimizer(self) -> optax.GradientTransformation: ...

    @property
    def widths(self) -> Iterable[float]:
        """The widths sigma_rel of the power-function averages kept in addition to the EMA (power_average.py)."""
        ...

    @property
    def evaluators(self) -> Mapping[str, Evaluator]:
        """The task's evaluators by name."""
        ...

    def init(self) -> Any:
        """Return the initial parameters; use `jax.eval_shape` to get their shapes only."""
        ...

    def losses(
        self, params: Any, averaged: Any, constants: Any, step: Array, batch: Batch
    ) -> Array:
        """Return the loss of each image (b,); training minimizes its mean over the global batch with respect to `params`.

        Args:
          params, averaged: the parameters and their average before this update.
          constants: the task's constants, as arguments of the compiled step.
          step: the number of updates before this one, int32 ().
          batch: one device's share; `index` holds the places of its images in the global batch.
        """
        ...

    def learning_rate(self, step: Array) -> Array | float:
        """Return the learning rate to record for the update after `step` updates; the optimizer has its own schedule."""
        ...

    def ema_rate(self, step: Array) -> Array | float:
        """Return the EMA decay for the update after `step` updates."""
        ...

    def record(self, folder: Path) -> None:
        """Record in the folder what its checkpoints' weights mean, such as the config.

        Raises:
          UserError: the folder holds weights with another meaning.
        """
        ...


@runtime_checkable
class Projected(Protocol):
    """A Task whose parameters are projected onto a set after each update, such as weights onto unit norm."""

    def projected(self, params: Any) -> Any:
        """Return the projected parameters, which replace `params` before the gradient of the next update.

        The averages are taken over the parameters as each update leaves them, not projected.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Plan:
    """The length of a run and its intervals for logging, saving and evaluation, in updates. A frequency of 0 means never."""

    seed: int
    """Seed of the order of the images."""
    batch_size: int
    """Images per update over all devices and hosts."""
    n_iters: int
    steps_per_call: int = 1
    log_freq: int = 50
    checkpoint_freq: int = 0
    keep_checkpoints: int = 1
    keep_every: int = 0
    keep_best: int = 0
    keep_best_by: str = HELD_OUT
    """The evaluator's figure that ranks checkpoints."""
    from_step: int = 0
    """Go back to the checkpoint of this step; 0: continue from the newest."""
    skip_nonfinite: int = 0
    """The number of consecutive non-finite updates that are skipped; one more ends the run."""
    accumulation: int = 1
    averages_freq: int = 0
    """Updates between power-function averages that are kept (kept_averages.py)."""

    @classmethod
    def from_config(cls, config: Any, section: Any, from_step: int = 0) -> Self:
        """Build a plan from the fields that a section of the config has; the others keep their defaults."""
        names = [field.name for field in dataclasses.fields(cls) if field.name in section]
        return cls(config.seed, from_step=from_step, **{name: section[name] for name in names})

    def call_before(self, step: int) -> int:
        """Return the step at which the call that ended at `step` (positive) began."""
        return (step - 1) // self.steps_per_call * self.steps_per_call

    def steps_in_call(self, step: int) -> int:
        """Return the number of updates in the next call: up to the next multiple of steps_per_call, or to the end."""
        k = self.steps_per_call
        return min(k - step % k, self.n_iters - step)
