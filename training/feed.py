"""The input of each step: a batch or, if the training data is resident on every device, the indices of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from score_sde import data
from score_sde.data.batch import Batch, gather
from score_sde.data.order import host_places
from score_sde.devices import Devices


class Rows(NamedTuple):
    """A batch given by its images' indices in the split, `rows`, and places in the global batch, `index`; both int32 (b,)."""

    rows: Any
    index: Any


Given = Batch | Rows


def feed(
    seed: int, batch_size: int, split: Any, start_step: int, devices: Devices
) -> tuple[Any, Iterator[Given]]:
    """Return the split's images and conditions on every device, and an iterator of this host's Rows for each step.

    For a split that is not in memory, return None and an iterator of Batches. The first step is `start_step`.
    """
    host, hosts = jax.process_index(), jax.process_count()
    if split.images is None:
        return None, split.batches(seed, batch_size, start_step, host, hosts)
    resident = jax.device_put((split.images, split.condition), devices.replicated())
    places = host_places(batch_size, host, hosts)

    def indices() -> Iterator[Rows]:
        step = start_step
        while True:
            batch = data.batch_indices(seed, step, batch_size, split.num_images)
            yield Rows(batch[places].astype(np.int32), places)
            step += 1

    return resident, indices()


def stacked(steps: list[Given]) -> Given:
    """Stack the inputs of k steps, with leaves (b, k, ...) so that the image axis stays first."""
    return jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *steps)


def batch_of(resident: Any, given: Given) -> Batch:
    """Return the Batch of one step; used inside compiled code."""
    if isinstance(given, Batch):
        return given
    images, condition = resident
    return gather(images, condition, *given)
