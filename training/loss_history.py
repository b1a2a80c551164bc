"""Importance sampling of training times by past losses, as in Improved DDPM (Nichol & Dhariwal 2021, Eq. 18 and the text after it).

The interval [0, 1), in which u selects a time or a level (training/draws.py), is divided into K equal cells. A cell is sampled with
probability

    p_k  =  (1 - q) r_k / sum_j r_j + q / K,    r_k = sqrt(mean of L^2 over the last H losses in the cell),

and u uniformly within it. The loss is multiplied by w = 1/(K p_k), so that its expectation is that under uniform u:
sum_k p_k w_k E[L | k] = mean_k E[L | k]. If q = 0 and each cell is a single time, these p_k minimize the variance. Until every cell has
H losses, p_k = 1/K. Published: a cell for each of a chain's levels, H = 10, q = 0.001.

The history is part of the training state. It is replicated on all devices, and the losses of a batch are added in the order of their
places in the global batch, so it does not depend on the number of devices.
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
    """The most recent losses in each cell, as a ring buffer: a cell's i-th loss is stored at index i mod H."""

    losses: Float[Array, "cells kept"]
    counts: Int[Array, "cells"]
    """The number of losses added to each cell; from H on, reduced by a multiple of H to lie in [H, 2H)."""

    @property
    def cells(self) -> int:
        """The number of cells K."""
        return len(self.counts)

    @property
    def kept(self) -> int:
        """The number H of losses kept per cell."""
        return self.losses.shape[1]

    @property
    def is_full(self) -> Array:
        """Whether every cell has H losses."""
        return jnp.all(self.counts >= self.kept)

    def probabilities(self, uniform: float = UNIFORM) -> Float[Array, "cells"]:
        """Return the sampling probabilities p_k of the cells."""
        spread = jnp.sqrt(jnp.mean(jnp.square(self.losses), axis=1))
        total = jnp.sum(spread)
        share = jnp.where(total > 0, spread / jnp.where(total > 0, total, 1.0), 1 / self.cells)
        p = (1 - uniform) * share + uniform / self.cells
        return jnp.where(self.is_full, p, 1 / self.cells)

    def drawn(self, u: Elements) -> Elements:
        """Map uniform u in [0, 1) by the inverse distribution function, so that cell k is selected with probability p_k."""
        ends = jnp.cumsum(self.probabilities())
        ends = ends / ends[-1]
        cell = jnp.minimum(jnp.searchsorted(ends, u, side="right"), self.cells - 1)
        begin = jnp.where(cell > 0, ends[cell - 1], 0.0)
        # Keep away from the cell's edges by more than the rounding error of the sum, so that `cell` finds the same cell.
        margin = self.cells * 2.0**-22
        within = jnp.clip((u - begin) / (ends[cell] - begin), margin, 1 - margin)
        return ((cell + within) / self.cells).astype(u.dtype)

    def cell(self, u: Elements) -> Integers:
        """Return the index of the cell that contains u."""
        return jnp.minimum((u * self.cells).astype(jnp.int32), self.cells - 1)

    def weight(self, u: Elements) -> Elements:
        """Return the weight w by which the losses at sampled u are multiplied."""
        return (1 / (self.cells * self.probabilities()))[self.cell(u)].astype(u.dtype)

    def added(self, u: PerImage, losses: PerImage) -> Self:
        """Return the history with the losses of a batch added, in the order of the batch; the losses are without the factor w."""
        cell = self.cell(u)
        order = jnp.argsort(cell, stable=True)
        cell, losses = cell[order], losses[order]
        first = jnp.searchsorted(cell, cell, side="left")
        new = jnp.zeros_like(self.counts).at[cell].add(1)
        number = jnp.arange(len(cell)) - first
        place = (self.counts[cell] + number) % self.kept
        # If a cell gets more than H losses, write only the last H: the order of writes to the same place is undefined.
        row = jnp.where(number >= new[cell] - self.kept, cell, self.cells)
        counts = self.counts + new
        return dataclasses.replace(
            self,
            losses=self.losses.at[row, place].set(losses.astype(self.losses.dtype), mode="drop"),
            counts=jnp.where(counts < self.kept, counts, self.kept + counts % self.kept),
        )


def empty_history(cells: int, kept: int = KEPT) -> LossHistory:
    """Return an empty history, before any loss has been recorded."""
    return LossHistory(jnp.zeros((cells, kept)), jnp.zeros(cells, jnp.int32))


@runtime_checkable
class Remembering(Protocol):
    """A Task that may also keep a history of losses across updates."""

    def first_history(self) -> LossHistory | tuple[()]:
        """Return the history before the first update; () if the task keeps none."""
        ...

    def recalling(self, history: LossHistory | tuple[()]) -> Any:
        """Return the task with this history, for use in the next update."""
        ...

    def remembered(
        self, history: LossHistory | tuple[()], step: Array, losses: PerImage
    ) -> LossHistory | tuple[()]:
        """Return the history after an update with these losses of all images of the global batch (B,)."""
        ...


def of_places(losses: PerImage, places: Integers, batch_size: int) -> PerImage:
    """Scatter one device's losses to their places in the global batch, zero elsewhere, to be summed over the devices."""
    return jnp.zeros(batch_size, losses.dtype).at[places].set(losses)
