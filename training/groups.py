"""The loss of groups of images, such as those of much noise and of little: summed on the devices, averaged over a line's updates."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde.data.batch import Batch

GROUPS = "groups"  # among the metrics of an update, of a Grouped task


@runtime_checkable
class Grouped(Protocol):
    """A Task that may also tell its images apart."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The name of each group's mean loss in the record."""
        ...

    def group_of(self, step: Array, batch: Batch) -> Array:
        """The place in `groups` of each image (b,) of a batch, int32; it has the arguments of Task.losses."""
        ...


class Sums(NamedTuple):
    """Of each group (groups,): the sum of its images' losses, and their number."""

    losses: Any
    images: Any


def sums_of(task: Grouped, step: Array, batch: Batch, losses: Array) -> Sums:
    """Of the images that one device has."""
    places = jnp.arange(len(task.groups))
    # By `where`, since NaN times 0 is NaN: a loss that is none stays in its group.
    inside = task.group_of(step, batch)[:, None] == places[None, :]
    return Sums(jnp.where(inside, losses[:, None], 0.0).sum(0), inside.astype(jnp.float32).sum(0))


class GroupLosses:
    """What has been summed since the last line of the log."""

    def __init__(self, task: Any):
        self.names = task.groups if isinstance(task, Grouped) else ()
        self.total = np.zeros((2, len(self.names)))

    def add(self, sums: Sums | None, update: int) -> None:
        """One update's of a call's, leaves (k, groups)."""
        if sums is not None:
            self.total += np.stack([sums.losses[update], sums.images[update]])

    def means(self) -> dict[str, float]:
        """By name, weighted by images, so that groups of equal losses make the mean loss; without empty groups. Begins anew."""
        (losses, images), self.total = self.total, np.zeros_like(self.total)
        return {
            name: float(loss / count)
            for name, loss, count in zip(self.names, losses, images, strict=True)
            if count
        }
