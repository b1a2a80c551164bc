"""What the evaluators of a task have said, and of which step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from score_sde.errors import UserError
from score_sde.training.progress import Progress
from score_sde.training.record import Record
from score_sde.training.task import Task


class NotFinite(UserError):
    """The loss, its gradient or what an evaluator found became inf or NaN."""


ERROR = "_error"  # of the name of a figure, after the name of what it is the standard error of


def in_words(figures: dict[str, float]) -> Iterator[str]:
    """Each with its error, where that is a figure too."""
    for figure, value in figures.items():
        error = figures.get(f"{figure}{ERROR}")
        if error is not None:
            yield f"{figure} {value:.5g} +- {error:.2g}"
        elif figure.removesuffix(ERROR) not in figures or not figure.endswith(ERROR):
            yield f"{figure} {value:.5g}"


class Evaluations:
    """Of one run."""

    def __init__(self, task: Task, record: Record, progress: Progress):
        self.evaluators, self.record, self.progress = task.evaluators, record, progress
        self.newest: dict[str, float] = {}  # figures
        self.at: dict[str, int] = {}  # name of an evaluator, or of a figure -> the step it is of

    def make(self, names: Iterable[str], averaged: Any, step: int) -> None:
        """Ask these evaluators about the averaged parameters of a step, record and say what they find.

        Raises:
          NotFinite: a figure is none.
        """
        for name in names:
            evaluator = self.evaluators[name]
            with self.progress.taking("evaluation"):
                found = evaluator.evaluate(averaged, step)
                self.record.draw(step, evaluator.draw(averaged, step))
            self.at[name] = step
            for figure, value in found.items():
                if not math.isfinite(value):
                    raise NotFinite(f"{figure} is {value} at step {step}")
            for line in in_words(found):
                self.progress.say(f"step {step}: {line}")
            if found:
                self.record.write(step, **found)
                self.newest |= found
                self.at |= dict.fromkeys(found, step)

    def missing(self, step: int) -> list[str]:
        """Evaluators, of those in use, that have not been asked about this step."""
        return [
            name
            for name, evaluator in self.evaluators.items()
            if evaluator.frequency and self.at.get(name) != step
        ]

    def of(self, step: int) -> dict[str, float]:
        """The figures that are of this step."""
        return {figure: value for figure, value in self.newest.items() if self.at[figure] == step}
