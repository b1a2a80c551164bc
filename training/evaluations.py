"""The results of a task's evaluators during a run, and the steps they belong to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from score_sde.errors import UserError
from score_sde.training.progress import Progress
from score_sde.training.record import Record
from score_sde.training.task import Task


class NotFinite(UserError):
    """The loss, its gradient or an evaluator's figure became inf or NaN."""


ERROR = "_error"  # suffix of the figure that is the standard error of the figure without it


def in_words(figures: dict[str, float]) -> Iterator[str]:
    """Format each figure, together with its standard error if that is a figure too."""
    for figure, value in figures.items():
        error = figures.get(f"{figure}{ERROR}")
        if error is not None:
            yield f"{figure} {value:.5g} +- {error:.2g}"
        elif figure.removesuffix(ERROR) not in figures or not figure.endswith(ERROR):
            yield f"{figure} {value:.5g}"


class Evaluations:
    """The evaluations of one run."""

    def __init__(self, task: Task, record: Record, progress: Progress):
        self.evaluators, self.record, self.progress = task.evaluators, record, progress
        self.newest: dict[str, float] = {}  # figures
        self.at: dict[str, int] = {}  # name of an evaluator or a figure -> its latest step

    def make(self, names: Iterable[str], averaged: Any, step: int) -> None:
        """Run these evaluators on the averaged parameters of a step; record and print the results.

        Raises:
          NotFinite: a figure is not finite.
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
        """Return the names of the enabled evaluators that have not been run at this step."""
        return [
            name
            for name, evaluator in self.evaluators.items()
            if evaluator.frequency and self.at.get(name) != step
        ]

    def of(self, step: int) -> dict[str, float]:
        """Return the figures that belong to this step."""
        return {figure: value for figure, value in self.newest.items() if self.at[figure] == step}
