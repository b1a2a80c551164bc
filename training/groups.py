"""The mean loss of groups of images, such as noise-level bins: summed on the devices, averaged over the updates of a log line."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde.data.batch import Batch

GROUPS = "groups"  # the key of the Sums among the metrics of a Grouped task's update


@runtime_checkable
class Grouped(Protocol):
    """A Task that may also divide the images into groups, whose losses are recorded separately."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The name of each group's mean loss in the record."""
        ...

    def group_of(self, step: Array, batch: Batch) -> Array:
        """Return the index in `groups` of each image of a batch, int32 (b,); `step` and `batch` are those of Task.losses."""
        ...


class Sums(NamedTuple):
    """The sum of the losses and the number of images of each group, (groups,) each."""

    losses: Any
    images: Any


def sums_of(task: Grouped, step: Array, batch: Batch, losses: Array) -> Sums:
    """Return the Sums over one device's images."""
    places = jnp.arange(len(task.groups))
    # `where` rather than a product, since NaN times 0 is NaN: a NaN loss must only affect its own group.
    inside = task.group_of(step, batch)[:, None] == places[None, :]
    return Sums(jnp.where(inside, losses[:, None], 0.0).sum(0), inside.astype(jnp.float32).sum(0))


class GroupLosses:
    """The group losses accumulated since the last log line."""

    def __init__(self, task: Any):
        self.names = task.groups if isinstance(task, Grouped) else ()
        self.total = np.zeros((2, len(self.names)))

    def add(self, sums: Sums | None, update: int) -> None:
        """Add the sums of one update of a call; the leaves of `sums` are (k, groups)."""
        if sums is not None:
            self.total += np.stack([sums.losses[update], sums.images[update]])

    def means(self) -> dict[str, float]:
        """Return the mean loss per image of each non-empty group by name, and reset the sums."""
        (losses, images), self.total = self.total, np.zeros_like(self.total)
        return {
            name: float(loss / count)
            for name, loss, count in zip(self.names, losses, images, strict=True)
            if count
        }
