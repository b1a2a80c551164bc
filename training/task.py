"""What the loop (training/loop.py) trains: anything with first parameters, a loss of each image and an optimizer.

The score network (score_task.py) is one, the noise within a level (likelihood/dequantization/training.py) another. A task may
tell its images apart as well: groups.py.
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
    """No figures: a task without evaluation."""
    return {}


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """Looks at the averaged parameters every so many steps (0: never) and after the last.

    `evaluate(averaged parameters, step) -> figures`, numbers by name, which are recorded; one that is not finite ends the run.
    `draw(averaged parameters, step) -> pictures` by name, which those who look on are shown: see record.py.
    `figures` are the names of what `evaluate` finds, or some: a run that goes on where a signal kept it from an evaluation knows by
    them that one is missing. `drawn` says, of one without figures, whether the pictures of a step are kept already.
    """

    frequency: int
    evaluate: Callable[[Any, int], dict[str, float]] = nothing
    draw: Callable[[Any, int], dict[str, Image]] = nothing
    figures: tuple[str, ...] = ()
    drawn: Callable[[int], bool] = lambda step: True


class Task(Protocol):
    """What is trained. All randomness of an update follows from the task's seed, the step and `batch.index`."""

    @property
    def name(self) -> str:
        """In the lines that a run says."""
        ...

    @property
    def advice(self) -> str:
        """What to try when the loss is not finite."""
        ...

    @property
    def constants(self) -> Any:
        """Arrays that the loss needs and no update changes, `()` for none: whole on every device."""
        ...

    @property
    def trainable(self) -> str:
        """A regular expression found in the names of the parameters that are trained (trainable.py)."""
        ...

    @property
    def quick_init(self) -> bool:
        """Whether to compile `init` without optimising.

        On a CPU optimising takes longer than hundreds of small random draws do, but their last bits depend on it.
        """
        ...

    @property
    def optimizer(self) -> optax.GradientTransformation: ...

    @property
    def widths(self) -> Iterable[float]:
        """sigma_rel of the power-function averages that are kept beside the exponential one (power_average.py)."""
        ...

    @property
    def evaluators(self) -> Mapping[str, Evaluator]:
        """By name."""
        ...

    def init(self) -> Any:
        """The first parameters; for shapes only: `jax.eval_shape` of it."""
        ...

    def losses(
        self, params: Any, averaged: Any, constants: Any, step: Array, batch: Batch
    ) -> Array:
        """The loss of each image (b,), of which the mean over the global batch is minimised in `params`.

        Args:
          params, averaged: the parameters and their average before this update.
          constants: the task's, as arguments of the compiled step.
          step: updates before this one, int32 ().
          batch: one device's share; `index` says where in the global batch its images stand.
        """
        ...

    def learning_rate(self, step: Array) -> Array | float:
        """As it is recorded; the optimizer has its own."""
        ...

    def ema_rate(self, step: Array) -> Array | float:
        """The decay of the average in the update that follows `step` others."""
        ...

    def record(self, folder: Path) -> None:
        """Say beside the checkpoints what their weights mean.

        Raises:
          UserError: the folder holds weights that mean something else.
        """
        ...


@runtime_checkable
class Projected(Protocol):
    """A Task whose parameters are brought back to a set after each update, as unit weights are."""

    def projected(self, params: Any) -> Any:
        """What takes their place before the gradient of the next update. The averages are of those that an update leaves."""
        ...


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long and in what rhythm, in updates. A frequency of 0 is never."""

    seed: int
    """Of the order of the images."""
    batch_size: int
    """Images of an update over all devices and hosts."""
    n_iters: int
    steps_per_call: int = 1
    log_freq: int = 50
    checkpoint_freq: int = 0
    keep_checkpoints: int = 1
    keep_every: int = 0
    keep_best: int = 0
    keep_best_by: str = HELD_OUT
    """A figure of an evaluator."""
    from_step: int = 0
    """Go back to the checkpoint of this step; 0: on from the newest."""
    skip_nonfinite: int = 0
    """Updates in a row that are left out because they are not finite; one more ends the run."""
    accumulation: int = 1
    averages_freq: int = 0
    """Power-function averages that stay (kept_averages.py)."""

    @classmethod
    def from_config(cls, config: Any, section: Any, from_step: int = 0) -> Self:
        """The fields that a section of the config has."""
        names = [field.name for field in dataclasses.fields(cls) if field.name in section]
        return cls(config.seed, from_step=from_step, **{name: section[name] for name in names})

    def call_before(self, step: int) -> int:
        """Where the call began that ended at this step, above 0."""
        return (step - 1) // self.steps_per_call * self.steps_per_call

    def steps_in_call(self, step: int) -> int:
        """Updates in the next call: up to the next multiple of steps_per_call, or to the end."""
        k = self.steps_per_call
        return min(k - step % k, self.n_iters - step)
