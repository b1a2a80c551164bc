"""Which checkpoints stay when a new one is saved: the latest, every so many steps one, and the best."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Staying:
    """A PreservationPolicy of Orbax's."""

    latest: int
    """So many; 0: all stay."""
    every: int
    """Multiples of so many steps stay for ever; 0: none."""
    best: int
    """So many of the least figures; 0: none."""
    judged: Callable[[], Mapping[int, float]]
    """Step -> the figure by which they are compared, of those of which it is known."""

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """One answer for each of Orbax's records, which have a `step`."""
        judged = self.judged() if self.best else {}
        kept = self.of([checkpoint.step for checkpoint in checkpoints], judged)
        return [checkpoint.step in kept for checkpoint in checkpoints]

    def of(self, steps: Iterable[int], judged: Mapping[int, float]) -> set[int]:
        """Those of the steps that stay."""
        steps = sorted(steps)
        if not self.latest:
            return set(steps)
        kept = {step for step in steps if self.every and step % self.every == 0}
        ranking = sorted((step for step in steps if step in judged), key=lambda step: judged[step])
        return kept | {*steps[-self.latest :], *ranking[: self.best]}
