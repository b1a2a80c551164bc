"""The policy for which checkpoints are kept when a new one is saved: the latest, those at regular steps, and the best."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Staying:
    """An Orbax PreservationPolicy."""

    latest: int
    """The number of latest checkpoints to keep; 0: all."""
    every: int
    """Keep checkpoints at multiples of this many steps forever; 0: none."""
    best: int
    """The number of checkpoints with the lowest figures to keep; 0: none."""
    judged: Callable[[], Mapping[int, float]]
    """Returns step -> the figure that ranks checkpoints, for those where it is known."""

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Return for each of Orbax's checkpoint records, which have a `step`, whether to keep it."""
        judged = self.judged() if self.best else {}
        kept = self.of([checkpoint.step for checkpoint in checkpoints], judged)
        return [checkpoint.step in kept for checkpoint in checkpoints]

    def of(self, steps: Iterable[int], judged: Mapping[int, float]) -> set[int]:
        """Return the steps to keep."""
        steps = sorted(steps)
        if not self.latest:
            return set(steps)
        kept = {step for step in steps if self.every and step % self.every == 0}
        ranking = sorted((step for step in steps if step in judged), key=lambda step: judged[step])
        return kept | {*steps[-self.latest :], *ranking[: self.best]}
