"""One update: equal on any number of devices, with equal replicas, and in one call or two."""

import copy
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_sde import data
from score_sde.devices import PmapDevices, ShardMapDevices
from score_sde.keys import Stream, TrainingKeys, image_keys, stream_key
from score_sde.models.networks import NETWORKS, build_network
from score_sde.sde_lib import build_sde
from score_sde.training.feed import feed, stacked
from score_sde.training.held_out import HeldOutLoss, stratified
from score_sde.training.objective import build_objective
from score_sde.training.score_task import build_score_task
from score_sde.training.state import first_state, init_params
from score_sde.training.step import build_train_step
from tests.training.stub_network import StubNetwork, stub_config

BATCH = 8


class Case:
    """A step on some of the devices, and a fresh state for it."""

    def __init__(self, config, num_devices, way=PmapDevices):
        self.devices = way((*jax.devices()[:num_devices],))
        self.task = build_score_task(config)
        self.step = build_train_step(self.task, self.devices)
        self.split = data.load(config).train
        self.init = jax.jit(
            lambda: first_state(self.task.init(), self.task.optimizer),
            out_shardings=self.devices.replicated(),
        )
        self.state = self.init()

    def fresh(self):
        """The same programs with a state of their own."""
        other = copy.copy(self)
        other.state = self.init()
        return other

    def run(self, first, last, steps_per_call=1, streamed=False):
        """Updates first ... last - 1; gives the losses."""
        resident, steps = feed(0, BATCH, self.split, first, self.devices)
        if streamed:
            resident, steps = None, self.split.batches(0, BATCH, first)
        losses = []
        for _ in range(first, last, steps_per_call):
            given = self.devices.split(stacked([next(steps) for _ in range(steps_per_call)]))
            self.state, metrics = self.step(self.state, (), resident, given)
            losses.extend(np.asarray(metrics["loss"]))
        return np.array(losses)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


@pytest.fixture(scope="module")
def case():
    """Cases by their devices; each kind is compiled once.

    With Adam's eps at 1, an update is nearly proportional to the gradient and does not blow its round-off up.
    """
    config = stub_config()
    config.optim.update(eps=1.0, warmup=0)
    compiled = functools.cache(functools.partial(Case, config))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "stub", StubNetwork)
        yield lambda num_devices, way=PmapDevices: compiled(num_devices, way).fresh()


def test_four_devices_make_the_update_of_one(case):
    """Dropout, flips, times and noise belong to the image, so only the order of summation differs.

    Three updates of at most lr = .01 in float32 differ by a few ulp of parameters of order one.
    """
    one, four = case(1), case(4)
    np.testing.assert_allclose(one.run(0, 3), four.run(0, 3), rtol=1e-6)
    for a, b in zip(leaves(one.state), leaves(four.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_both_ways_of_sharing_a_batch_make_the_same_update_to_the_bit(case):
    ways = [case(4, way) for way in (PmapDevices, ShardMapDevices)]
    np.testing.assert_array_equal(*(way.run(0, 2) for way in ways))
    for a, b in zip(*(leaves(way.state) for way in ways), strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_device_holds_the_same_bits(case):
    four = case(4)
    four.run(0, 4)
    for leaf in jax.tree.leaves(four.state):
        copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(copies) == 4
        for other in copies[1:]:
            np.testing.assert_array_equal(other, copies[0])


def test_the_update_is_the_gradient_of_the_mean_loss(case):
    """Equal to the parts of the step combined by hand, without pmap."""
    four = case(4)
    before = jax.device_get(four.state)
    four.run(0, 1)

    batch = next(four.split.batches(0, BATCH))
    key = jax.random.fold_in(stream_key(four.task.config.seed, Stream.TRAIN), 0)
    objective = four.task.objective

    @jax.jit
    def by_hand(before):
        loss = jax.grad(lambda p: objective.training_losses(p, batch, key).mean())
        optimizer = four.task.optimizer
        updates, _ = optimizer.update(loss(before.params), before.opt_state, before.params)
        return optax.apply_updates(before.params, updates)

    params = by_hand(before)
    # Adam's first update is lr g / (|g| + 1).
    for a, b, old in zip(*map(leaves, (four.state.params, params, before.params)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
        assert np.abs(b - old).max() > 1e-5
    # The first rate of the average is 2/11: p_ema = p_0 + 9/11 (p_1 - p_0).
    for ema, p0, p1 in zip(
        *map(leaves, (four.state.ema_params, before.params, params)), strict=True
    ):
        np.testing.assert_allclose(ema, p0 + 9 / 11 * (p1 - p0), atol=1e-6)
    assert int(four.state.step) == 1


def test_dropout_and_the_step_enter_the_randomness(config):
    """Losses of the same images with the same parameters change between steps, and with the dropout rate."""

    def losses(rate, *steps):
        config.model.dropout = rate
        task = build_score_task(config)
        batch = next(data.load(config).train.batches(0, BATCH))
        params = jax.jit(task.init)()
        run = jax.jit(lambda step: task.losses(params, params, (), step, batch))
        return [np.asarray(run(jnp.int32(step))) for step in steps]

    first, second = losses(0.3, 0, 1)
    (without,) = losses(0.0, 0)
    assert np.all(first != second)
    assert np.all(first != without)


@pytest.mark.parametrize("streamed", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_two_updates_in_a_call_are_two_calls(case, streamed):
    """For resident images, and for streamed ones."""
    single, double = case(4), case(4)
    np.testing.assert_allclose(
        single.run(0, 4), double.run(0, 4, steps_per_call=2, streamed=streamed), rtol=1e-6
    )
    # The two programs fuse differently: a few ulp of a gradient, which Adam turns into some 1e-6 of lr.
    for a, b in zip(leaves(single.state), leaves(double.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_streamed_images_are_the_resident_ones(case):
    resident, streamed = case(4), case(4)
    np.testing.assert_allclose(resident.run(0, 2), streamed.run(0, 2, streamed=True), rtol=1e-6)


def test_the_state_is_donated(case):
    four = case(4)
    before = four.state
    four.run(0, 1)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))


def test_keys_differ_between_uses_images_and_steps():
    base = stream_key(0, Stream.TRAIN)
    draws = []
    for step in range(3):
        keys = image_keys(TrainingKeys, jax.random.fold_in(base, step), jnp.arange(7))
        for use in (keys.dequantization, keys.flip, keys.time, keys.noise, keys.dropout):
            draws.extend(np.asarray(jax.random.key_data(use)).tolist())
    assert len({tuple(draw) for draw in draws}) == 3 * 7 * 5


@pytest.mark.parametrize("shift", [1, 3])
def test_keys_belong_to_the_place_in_the_batch(shift):
    key = stream_key(1, Stream.TRAIN)
    all_of_them = jax.random.key_data(image_keys(TrainingKeys, key, jnp.arange(8)).time)
    np.testing.assert_array_equal(
        jax.random.key_data(image_keys(TrainingKeys, key, jnp.arange(shift, 8)).time),
        all_of_them[shift:],
    )


def test_x0_of_levels_is_dequantized_and_flipped_as_asked(config):
    config.data.num_levels = 17
    images = jnp.arange(2 * 16, dtype=jnp.uint8).reshape(2, 4, 4, 1) % 17
    keys = image_keys(TrainingKeys, jax.random.key(3), jnp.arange(2)).dequantization
    objective = build_objective(config, build_network(config), build_sde(config))
    levels = (np.asarray(objective.space.encode(images, keys)) + 1) / 2 * 17
    np.testing.assert_array_equal(np.floor(levels), images)
    fraction = levels - np.floor(levels)
    assert len(np.unique(fraction)) > 20
    # Independent noise: sixteen differences of two uniforms are all below .2 once in 12 million.
    assert np.abs(fraction[0] - fraction[1]).max() > 0.2
    config.data.uniform_dequantization = False
    objective = build_objective(config, build_network(config), build_sde(config))
    np.testing.assert_allclose(
        objective.space.encode(images, keys), np.asarray(images) / 8 - 1, atol=1e-6
    )


def test_training_mirrors_half_of_the_images_whatever_their_time(config):
    """400 images, with a loss that exposes its inputs."""
    config.data.uniform_dequantization = False
    with_flips = build_objective(config, build_network(config), build_sde(config))
    show = dataclasses.replace(with_flips, loss=lambda model, x0, u, z, keys: (x0, u, z))
    images = jax.random.normal(jax.random.key(1), (400, 4, 4, 1))
    key, batch = jax.random.key(0), data.Batch(images, (), jnp.arange(400))
    x0, u, z = (np.asarray(a) for a in show.training_losses({}, batch, key))
    plain = np.asarray(show.held_out_losses({}, batch, jnp.zeros(400), key)[0])
    flipped = np.all(x0 == plain[:, :, ::-1], axis=(1, 2, 3))
    np.testing.assert_array_equal(x0[~flipped], plain[~flipped])
    # Five SD of a fair coin; and of its correlation with the time.
    assert abs(flipped.mean() - 0.5) < 5 * 0.5 / 20
    assert abs(np.corrcoef(flipped, u)[0, 1]) < 5 / 20
    # 6400 normal numbers, all different from image to image: mean and variance within five SD.
    assert abs(z.mean()) < 5 / 80
    assert abs(z.var() - 1) < 5 * np.sqrt(2) / 80
    assert len(np.unique(z)) > 6300


def test_stratified_numbers_are_one_in_each_cell():
    u = stratified(3, 1000)
    np.testing.assert_array_equal(np.sort(np.floor(u.astype(np.float64) * 1000)), np.arange(1000))
    np.testing.assert_array_equal(u, stratified(3, 1000))
    # Their order tells nothing: the correlation with the index is N(0, 1/n), 5 SD.
    assert abs(np.corrcoef(u, np.arange(1000))[0, 1]) < 5 / np.sqrt(1000)
    # Of this seed, (n - 1 + v) / n is 1 as float32.
    assert stratified(795, 2**16).max() == np.nextafter(np.float32(1), np.float32(0))


@pytest.mark.parametrize(
    "batch_size", [16, *(pytest.param(of, marks=pytest.mark.slow) for of in (64, 1000))]
)
def test_held_out_loss_is_the_mean_over_the_split_whatever_the_batch(config, batch_size):
    """250 images: the last batch is padded, and only its real images must count."""
    network = build_network(config)
    objective = build_objective(config, network, build_sde(config))
    params = jax.jit(lambda: init_params(config, network))()
    split = data.load(config).test.subset(np.arange(250))
    key, u = stream_key(config.seed, Stream.HELD_OUT), stratified(config.seed, 250)
    losses = jax.jit(objective.held_out_losses)(params, split.take(range(250)), u, key)
    config.training.batch_size = batch_size
    value = HeldOutLoss(config, objective, split, PmapDevices())(params)
    assert value == pytest.approx(float(np.mean(np.asarray(losses), dtype=np.float64)), rel=1e-6)
