"""Which images a step sees, whether they are on the device or read on the way, from whatever step a run starts."""

import itertools
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from score_sde import data
from score_sde.devices import PmapDevices
from score_sde.training.loop import feed

CONFIG = SimpleNamespace(seed=7, training=SimpleNamespace(batch_size=8))
IMAGES = np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1) * np.ones((1, 2, 2, 1), np.uint8)


class Read:
    """A split whose images are not in memory: `data.ImagesOnDisk` without the disk."""

    images = None

    def batches(self, *arguments):
        return data.ImagesInMemory(IMAGES).batches(*arguments)


@pytest.mark.parametrize("start_step", [0, 1, 13])
def test_a_run_from_any_step_sees_what_the_whole_run_sees(start_step):
    whole = [data.batch_indices(7, step, 8, 50) for step in range(20)]
    resident, rows = feed(CONFIG, data.ImagesInMemory(IMAGES), start_step, PmapDevices())
    nothing, batches = feed(CONFIG, Read(), start_step, PmapDevices())
    assert nothing is None
    assert {shard.device for shard in resident.addressable_shards} == set(jax.devices())
    for expected, row, batch in itertools.islice(
        zip(whole[start_step:], rows, batches, strict=False), 5
    ):
        np.testing.assert_array_equal(row, expected)
        np.testing.assert_array_equal(np.asarray(resident)[row], IMAGES[expected])
        np.testing.assert_array_equal(batch, IMAGES[expected])
