"""The data order: every image once per epoch, as a pure function of (seed, step), independent of hosts."""

import time

import numpy as np
import pytest

from score_sde.data import batch_indices, process_slice


def order(seed, steps, batch_size, num_images):
    return np.concatenate([batch_indices(seed, s, batch_size, num_images) for s in range(steps)])


@pytest.mark.parametrize(("batch_size", "num_images"), [(4, 12), (5, 12), (7, 3), (1, 5)])
def test_every_epoch_has_every_image_once(batch_size, num_images):
    epochs = 5
    stream = order(3, epochs * num_images, batch_size, num_images)[: epochs * num_images]
    for epoch in stream.reshape(epochs, num_images):
        assert sorted(epoch) == list(range(num_images))


def test_a_batch_may_straddle_epochs_and_loses_no_image():
    # Steps of 5 from 12 images: the third batch ends the first epoch after two images.
    batches = [batch_indices(0, step, 5, 12) for step in range(5)]
    first_epoch = np.concatenate([*batches[:2], batches[2][:2]])
    assert sorted(first_epoch) == list(range(12))
    assert sorted(np.concatenate([batches[2][2:], *batches[3:]])[:12]) == list(range(12))


def test_epochs_differ():
    epochs = order(0, 3, 50, 50).reshape(3, 50)
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])


def test_resuming_needs_only_the_step():
    forwards = [batch_indices(7, step, 6, 20) for step in range(10)]
    backwards = [batch_indices(7, step, 6, 20) for step in reversed(range(10))]
    np.testing.assert_array_equal(forwards, backwards[::-1])


def test_seeds_are_independent():
    # Neither the same order, nor one epoch's order shifted to another, which seed + epoch would give.
    orders = {tuple(batch_indices(seed, epoch, 50, 50)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_the_order_never_changes():
    # Golden: numbers of a run that was started under another NumPy. Change them only with a note in the
    # changelog that resumed runs see another order.
    assert batch_indices(42, 1000, 8, 50000).tolist() == GOLDEN


GOLDEN = [44879, 11691, 26903, 28468, 35897, 24360, 20495, 18671]


def test_shuffled_uniformly():
    # The place of image 0 over 4,000 epochs, in ten bins: chi^2 with 9 degrees, 27.9 has p = 0.001.
    places = [np.flatnonzero(batch_indices(0, epoch, 10, 10) == 0)[0] for epoch in range(4000)]
    counts = np.bincount(places, minlength=10)
    assert ((counts - 400) ** 2 / 400).sum() < 27.9


def test_any_step_is_fast():
    batch_indices(0, 0, 128, 50_000)
    start = time.perf_counter()
    for step in range(10_000_000, 10_000_100):
        batch_indices(0, step, 128, 50_000)
    # About 10 us a step; the bound leaves room for a busy machine.
    assert (time.perf_counter() - start) / 100 < 2e-3


@pytest.mark.parametrize("process_count", [1, 2, 4])
def test_hosts_share_the_global_batch(process_count):
    batch = batch_indices(0, 3, 8, 20)
    parts = [process_slice(batch, i, process_count) for i in range(process_count)]
    np.testing.assert_array_equal(np.concatenate(parts), batch)


def test_uneven_hosts_are_refused():
    with pytest.raises(ValueError, match="cannot be split over 3 hosts"):
        process_slice(np.arange(8), 0, 3)


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"step": -1}, {"batch_size": 0}, {"num_images": 0}]
)
def test_impossible_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="must be at least"):
        batch_indices(**{"seed": 0, "step": 0, "batch_size": 1, "num_images": 1, **wrong})
