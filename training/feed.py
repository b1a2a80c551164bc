"""What each step is given: a batch, or which rows of the training data, which lie whole on every device, make it."""

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
    """A batch by its places in the split, `rows` (b,), and in the global batch, `index` (b,): both int32."""

    rows: Any
    index: Any


Given = Batch | Rows


def feed(
    seed: int, batch_size: int, split: Any, start_step: int, devices: Devices
) -> tuple[Any, Iterator[Given]]:
    """The split's images and conditions on every device, and this host's Rows of each step from `start_step`.

    For a split that is not in memory: None, and the Batches themselves.
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
    """What several steps are given, in one: leaves (b, k, ...), so that the axis of images is the first."""
    return jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *steps)


def batch_of(resident: Any, given: Given) -> Batch:
    """The Batch of one step, within compiled code."""
    if isinstance(given, Batch):
        return given
    images, condition = resident
    return gather(images, condition, *given)
