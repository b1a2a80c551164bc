"""Times drawn by the losses that they had: importance sampling of Improved DDPM (Nichol & Dhariwal 2021, Eq. 18 and after it).

[0, 1), from which u picks a time or a level (training/draws.py), has K equal cells. A cell is drawn with the probability

    p_k  =  (1 - q) r_k / sum_j r_j + q / K,    r_k = sqrt(mean of L^2 over the last H losses in the cell),

u evenly within it, and the loss multiplied by w = 1/(K p_k), so that its expectation is that under even u: sum_k p_k w_k E[L | k] =
mean_k E[L | k]. With q = 0 and single times for cells the r are those of least variance. Until each cell has H losses, p_k = 1/K.
Published: a cell for each of a chain's levels, H = 10, q = 0.001.

The history is a part of the training state. All devices have it whole, and the losses of a batch go into it by their places there, so it
does not depend on how many devices there are.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, Self, runtime_checkable

import flax.struct
import jax.numpy as jnp
from jaxtyping import Float, Int

from score_sde.shapes import Array, Elements, Integers, PerImage

KEPT = 10
UNIFORM = 0.001


@flax.struct.dataclass
class LossHistory:
    """The last losses in each cell. A ring: number i of a cell's losses stands at i mod H."""

    losses: Float[Array, "cells kept"]
    counts: Int[Array, "cells"]
    """How many a cell has had; from H on, that and a multiple of H less."""

    @property
    def cells(self) -> int:
        """K."""
        return len(self.counts)

    @property
    def kept(self) -> int:
        """H."""
        return self.losses.shape[1]

    @property
    def is_full(self) -> Array:
        """Whether each cell has H losses."""
        return jnp.all(self.counts >= self.kept)

    def probabilities(self, uniform: float = UNIFORM) -> Float[Array, "cells"]:
        """p_k."""
        spread = jnp.sqrt(jnp.mean(jnp.square(self.losses), axis=1))
        total = jnp.sum(spread)
        share = jnp.where(total > 0, spread / jnp.where(total > 0, total, 1.0), 1 / self.cells)
        p = (1 - uniform) * share + uniform / self.cells
        return jnp.where(self.is_full, p, 1 / self.cells)

    def drawn(self, u: Elements) -> Elements:
        """Even u in [0, 1), moved so that they lie in the cells with their probabilities: the inverse of the distribution function."""
        ends = jnp.cumsum(self.probabilities())
        ends = ends / ends[-1]
        cell = jnp.minimum(jnp.searchsorted(ends, u, side="right"), self.cells - 1)
        begin = jnp.where(cell > 0, ends[cell - 1], 0.0)
        # Off the cell's edges by more than the rounding of the sum, so that `cell` finds the same one.
        margin = self.cells * 2.0**-22
        within = jnp.clip((u - begin) / (ends[cell] - begin), margin, 1 - margin)
        return ((cell + within) / self.cells).astype(u.dtype)

    def cell(self, u: Elements) -> Integers:
        """Of each u its cell."""
        return jnp.minimum((u * self.cells).astype(jnp.int32), self.cells - 1)

    def weight(self, u: Elements) -> Elements:
        """w, by which the losses at drawn u are multiplied."""
        return (1 / (self.cells * self.probabilities()))[self.cell(u)].astype(u.dtype)

    def added(self, u: PerImage, losses: PerImage) -> Self:
        """With the losses of a batch, not multiplied by w, in the order of the batch."""
        cell = self.cell(u)
        order = jnp.argsort(cell, stable=True)
        cell, losses = cell[order], losses[order]
        first = jnp.searchsorted(cell, cell, side="left")
        new = jnp.zeros_like(self.counts).at[cell].add(1)
        number = jnp.arange(len(cell)) - first
        place = (self.counts[cell] + number) % self.kept
        # Of more than H at once only the last: two at one place would be written in no order.
        row = jnp.where(number >= new[cell] - self.kept, cell, self.cells)
        counts = self.counts + new
        return dataclasses.replace(
            self,
            losses=self.losses.at[row, place].set(losses.astype(self.losses.dtype), mode="drop"),
            counts=jnp.where(counts < self.kept, counts, self.kept + counts % self.kept),
        )


def empty_history(cells: int, kept: int = KEPT) -> LossHistory:
    """Of no losses yet."""
    return LossHistory(jnp.zeros((cells, kept)), jnp.zeros(cells, jnp.int32))


@runtime_checkable
class Remembering(Protocol):
    """A Task that may also remember losses from update to update."""

    def first_history(self) -> LossHistory | tuple[()]:
        """Before the first update; () of a task that remembers nothing."""
        ...

    def recalling(self, history: LossHistory | tuple[()]) -> Any:
        """The task of an update that follows this history."""
        ...

    def remembered(
        self, history: LossHistory | tuple[()], step: Array, losses: PerImage
    ) -> LossHistory | tuple[()]:
        """The history after an update in which the images at all places of the global batch had these losses."""
        ...


def of_places(losses: PerImage, places: Integers, batch_size: int) -> PerImage:
    """One device's losses at their places in the global batch, and zeros at the others': to be added over the devices."""
    return jnp.zeros(batch_size, losses.dtype).at[places].set(losses)
