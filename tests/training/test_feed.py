"""The inputs of a step, for data on the device or read during training, from any first step."""

import itertools

import jax
import numpy as np
import pytest

from score_sde import data
from score_sde.devices import PmapDevices
from score_sde.training.feed import batch_of, feed

IMAGES = np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1) * np.ones((1, 2, 2, 1), np.uint8)
SPLIT = data.ImagesInMemory(IMAGES, {"label": np.arange(50, dtype=np.int32) + 100})


class Read:
    """A split whose images are not in memory: `data.ImagesOnDisk` without the disk."""

    images = None

    def batches(self, *arguments):
        return SPLIT.batches(*arguments)


@pytest.mark.parametrize("start_step", [0, 1, 13])
def test_a_run_from_any_step_sees_what_the_whole_run_sees(start_step):
    whole = [data.batch_indices(7, step, 8, 50) for step in range(20)]
    resident, steps = feed(7, 8, SPLIT, start_step, PmapDevices())
    nothing, batches = feed(7, 8, Read(), start_step, PmapDevices())
    assert nothing is None
    for leaf in jax.tree.leaves(resident):
        assert {shard.device for shard in leaf.addressable_shards} == set(jax.devices())
    for expected, *given in itertools.islice(
        zip(whole[start_step:], steps, batches, strict=False), 5
    ):
        for batch in map(batch_of, (resident, nothing), given):
            np.testing.assert_array_equal(batch.images, IMAGES[expected])
            np.testing.assert_array_equal(batch.condition["label"], expected + 100)
            np.testing.assert_array_equal(batch.index, np.arange(8))
