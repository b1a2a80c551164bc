"""Sharded state: bitwise equal updates, global norms, shards of the right size, and resuming with any way of sharding."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_sde.devices import FsdpDevices, HostCopy, PmapDevices, ShardMapDevices
from score_sde.devices.sharded import SMALL, spec_of
from score_sde.errors import UserError
from score_sde.training import memory
from score_sde.training.checkpoints import Checkpoints
from score_sde.training.feed import feed, stacked
from score_sde.training.kept_averages import kept_steps, read
from score_sde.training.loop import train_task
from score_sde.training.memory import size
from score_sde.training.replay import replay
from score_sde.training.start import fresh, state_shapes
from score_sde.training.step import build_train_step
from score_sde.training.task import Evaluator, Plan
from tests.training.test_task import SPLIT, VALUES, Mean

ROWS, COLUMNS = 16, 96
# No part of it is like another, by rows or by columns: neither 16 nor 24, a quarter, is a multiple of 7.
PATTERN = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS) % 7
# A sum of 1539 squares in another order: at most as many roundings of 2^-24 each.
ORDER = (ROWS * COLUMNS + 3) * 2**-24


class Sheet(Mean):
    """The mean of PATTERN times each image, and of each image, by a kernel that is split and a bias that is not.

    The loss of an image v is the sum of (kernel - v PATTERN)^2 and of (bias - v)^2. Whole numbers and halves, so float32 has the
    gradients exactly, in any order of their sums.
    """

    name, constants = "a sheet", ()

    def __init__(self, **changes):
        self.optimizer = optax.sgd(0.25)
        vars(self).update(changes)

    def init(self):
        return {"bias": jnp.zeros(3), "kernel": jnp.zeros((ROWS, COLUMNS))}

    def losses(self, params, averaged, constants, step, batch):
        def loss(v):
            off = jnp.square(params["kernel"] - v * PATTERN).sum()
            return off + jnp.square(params["bias"] - v).sum()

        return jax.vmap(loss)(batch.images[:, 0, 0, 0])


def gradient(kernel, bias):
    """Of the mean loss of all images, in float64."""
    return 2 * (np.float64(kernel) - VALUES.mean() * PATTERN), 2 * (
        np.float64(bias) - VALUES.mean()
    )


def updates(devices, task, count, skip_nonfinite=False, accumulation=1, steps_per_call=1):
    """The state after them, and the figures of each call."""
    step = build_train_step(task, devices, skip_nonfinite, accumulation)
    state, figures = fresh(task, devices), []
    resident, steps = feed(3, 8, SPLIT, 0, devices)
    for _ in range(0, count, steps_per_call):
        given = devices.split(stacked([next(steps) for _ in range(steps_per_call)]))
        state, metrics = step(state, task.constants, resident, given)
        figures.append(jax.device_get(metrics))
    return state, figures


def some(way, number=4):
    return way((*jax.devices()[:number],))


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(one), jax.device_get(other))


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((3, 3, 128, 256), (None, None, None, "devices")),
        ((3, 3, 128, 128), (None, None, "devices")),  # of two the first
        ((1023, 1028), (None, "devices")),
        ((1030, 1023), ()),  # 4 divides neither
        ((1030, 64), (None, "devices")),
        ((SMALL,), ("devices",)),
        ((SMALL - 4,), ()),
        ((), ()),
    ],
)
def test_a_leaf_is_split_along_its_largest_dimension_that_the_devices_divide(shape, spec):
    assert (*spec_of(shape, 4),) == spec


@pytest.mark.parametrize(
    ("number", "accumulation", "steps_per_call"),
    [
        (2, 1, 1),
        (4, 2, 2),
        *(
            pytest.param(*of, marks=pytest.mark.slow)
            for of in ((1, 1, 1), (4, 1, 1), (1, 2, 2), (2, 2, 2))
        ),
    ],
)
def test_updates_have_the_bits_of_the_other_ways(number, accumulation, steps_per_call):
    """They also have the closed form: an update halves the distance to the mean, 32, and the average follows at half its step."""
    task = Sheet(widths=(0.1,))
    more = {"accumulation": accumulation, "steps_per_call": steps_per_call}
    ways = (PmapDevices, ShardMapDevices, FsdpDevices)
    one, other, split = (updates(some(way, number), task, 4, **more) for way in ways)
    for state, figures in (one, other):
        assert_same(state, split[0])
        for mine, theirs in zip(split[1], figures, strict=True):
            assert_same(mine["loss"], theirs["loss"])
            np.testing.assert_allclose(mine["grad_norm"], theirs["grad_norm"], rtol=ORDER)
    p, averaged = 0.0, 0.0
    for _ in range(4):
        p += (32 - p) / 2
        averaged += (p - averaged) / 2
    np.testing.assert_array_equal(split[0].params["kernel"], p * PATTERN)
    np.testing.assert_array_equal(split[0].params["bias"], [p] * 3)
    np.testing.assert_array_equal(split[0].ema_params["kernel"], averaged * PATTERN)


def test_the_clip_is_by_the_norm_of_all_parts():
    """clip -> Adam -> weight decay against float64 by hand, with a clip that always acts.

    The norm's relative error is at most ORDER, which the moments and, with Adam's eps at 1, the parameters inherit.
    """
    clip, lr, decay = 0.5, 0.125, 0.25
    optimizer = optax.chain(
        optax.clip_by_global_norm(clip),
        optax.scale_by_adam(eps=1.0),
        optax.add_decayed_weights(decay),
        optax.scale(-lr),
    )
    state, figures = updates(some(FsdpDevices), Sheet(optimizer=optimizer), 3)
    weights = np.zeros((ROWS, COLUMNS)), np.zeros(3)
    mu, nu = [[np.zeros_like(w) for w in weights] for _ in range(2)]
    for n in range(1, 4):
        g = gradient(*weights)
        norm = math.sqrt(sum(np.square(part).sum() for part in g))
        assert figures[n - 1]["grad_norm"][0] == pytest.approx(norm, rel=ORDER)
        assert norm > clip
        g = [part * clip / norm for part in g]
        mu = [0.9 * m + 0.1 * part for m, part in zip(mu, g, strict=True)]
        nu = [0.999 * v + 0.001 * part**2 for v, part in zip(nu, g, strict=True)]
        weights = [
            w - lr * (m / (1 - 0.9**n) / (np.sqrt(v / (1 - 0.999**n)) + 1) + decay * w)
            for w, m, v in zip(weights, mu, nu, strict=True)
        ]
    adam = state.opt_state[1]
    for found, expected in (
        (state.params, weights),
        (adam.mu, mu),
        (adam.nu, nu),
    ):
        np.testing.assert_allclose(found["kernel"], expected[0], rtol=3 * ORDER, atol=1e-8)
        np.testing.assert_allclose(found["bias"], expected[1], rtol=3 * ORDER, atol=1e-8)


def test_a_device_holds_its_parts_and_no_more():
    """A quarter each of kernel, EMA, two moments and a power-function average, before and after updates; the compiler agrees."""
    task = Sheet(optimizer=optax.adam(1e-3), widths=(0.1,))
    devices = some(FsdpDevices)
    kernels, biases, counts = 5 * 4 * ROWS * COLUMNS, 5 * 4 * 3, 2 * 4
    expected = kernels // 4 + biases + counts
    template = devices.template(state_shapes(task))
    assert size(template) == expected
    assert size(state_shapes(task)) == kernels + biases + counts
    begun, (after, _) = fresh(task, devices), updates(devices, task, 2)
    for state in (begun, after):
        assert size(state) == expected
        for device in devices.devices:
            held = [
                shard.data.nbytes
                for leaf in jax.tree.leaves(state)
                for shard in leaf.addressable_shards
                if shard.device == device
            ]
            assert sum(held) == expected
    resident, steps = feed(3, 8, SPLIT, 0, devices)
    given = devices.split(stacked([next(steps)]))
    step = build_train_step(task, devices)
    found = step.run.lower(after, (), resident, given).compile().memory_analysis()
    rest = size((resident, given))
    # XLA rounds each of some twenty arguments up to 64 bytes, or not.
    assert found.argument_size_in_bytes == pytest.approx(expected + rest, abs=20 * 64)
    assert found.alias_size_in_bytes == pytest.approx(expected, abs=20 * 64)


def test_donated():
    devices, task = some(FsdpDevices), Sheet()
    state = fresh(task, devices)
    resident, steps = feed(3, 8, SPLIT, 0, devices)
    build_train_step(task, devices)(state, (), resident, devices.split(stacked([next(steps)])))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))


def test_a_norm_that_is_not_finite_in_one_part_skips_all_of_an_update():
    """A NaN in one entry of the kernel is in one device's shard, and in the norm that all devices see."""

    class Broken(Sheet):
        def losses(self, params, averaged, constants, step, batch):
            at = params["kernel"][3, 70]
            # d sqrt(p)/dp at p = 0: infinite, where the loss itself is finite.
            return super().losses(params, averaged, constants, step, batch) + jnp.sqrt(at)

    task, devices = Broken(), some(FsdpDevices)
    before = jax.device_get(fresh(task, devices))
    state, figures = updates(devices, task, 1, skip_nonfinite=True)
    assert np.isfinite(figures[0]["loss"]).all()
    assert not np.isfinite(figures[0]["grad_norm"]).any()
    assert_same(state.replace(step=0), before.replace(step=0))
    assert int(state.step) == 1


def train(folder, n_iters, devices, task=None, **plan):
    options = {"log_freq": 1, "checkpoint_freq": 2, "keep_checkpoints": 0, **plan}
    return train_task(
        task or Sheet(widths=(0.1,)), Plan(3, 8, n_iters, **options), SPLIT, folder, devices
    )


def test_a_run_goes_on_in_any_way(tmp_path):
    """Sharded over four devices, whole on one, sharded over two, whole on four: equal bit for bit, with the stored averages."""
    whole = train(tmp_path / "whole", 8, some(ShardMapDevices), averages_freq=2).state
    ways = (some(FsdpDevices), some(PmapDevices, 1), some(FsdpDevices, 2), some(ShardMapDevices))
    for n_iters, devices in zip((2, 4, 6, 8), ways, strict=True):
        seen = []
        look = Evaluator(2, lambda averaged, step, seen=seen: seen.append(averaged) or {})
        task = Sheet(widths=(0.1,), evaluators={"look": look})
        state, _ = train(tmp_path / "parts", n_iters, devices, task, averages_freq=2)
        kernel = state.params["kernel"]
        assert len(kernel.addressable_shards) == len(devices.devices)
        columns = COLUMNS // len(devices.devices) if isinstance(devices, FsdpDevices) else COLUMNS
        assert {shard.data.shape for shard in kernel.addressable_shards} == {(ROWS, columns)}
        # What evaluators are given is whole everywhere.
        assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(seen))
    assert_same(whole, state)
    assert kept_steps(tmp_path / "parts") == [2, 4, 6, 8]
    for step in (2, 4, 6):
        template = state_shapes(task).params
        assert_same(*(read(tmp_path / of, step, "0.1", template) for of in ("whole", "parts")))


def test_an_update_again(tmp_path, monkeypatch):
    """The gradient norm of each parameter is that of all its shards: 2 |32 - p| |PATTERN|, and 2 |32 - p| sqrt(3)."""
    read, sizes = Checkpoints.restore, []

    def restore(*arguments):
        state = read(*arguments)
        sizes.append(size(state))
        return state

    monkeypatch.setattr(Checkpoints, "restore", restore)
    devices = some(FsdpDevices)
    task = Sheet()
    train(tmp_path, 4, devices, task)
    found = replay(task, Plan(3, 8, 4), SPLIT, tmp_path, devices, 4)
    # Of kernel and bias and their averages, read in parts, and the step.
    assert sizes == [2 * 4 * (ROWS * COLUMNS // 4 + 3) + 4]
    p = 32 - 32 / 2**3
    assert found.grad_norms["kernel"] == pytest.approx(
        2 * (32 - p) * np.linalg.norm(PATTERN), rel=ORDER
    )
    assert found.grad_norms["bias"] == pytest.approx(2 * (32 - p) * math.sqrt(3), rel=1e-6)
    v = VALUES[found.images]
    expected = ((p - v) ** 2) * (np.square(PATTERN).sum() + 3)
    np.testing.assert_allclose(found.losses, expected, rtol=ORDER)


def test_a_copy_holds_each_part_once():
    """And a NaN in the last of four shards."""
    devices = some(FsdpDevices)
    for leaf in (PATTERN, np.float32([1, 2])):  # split, and whole on each
        array = jax.device_put(leaf, devices.place(leaf))
        copy = HostCopy.of(array)
        assert sum(part.size for part in copy.parts.values()) == leaf.size
        again = copy.on_devices(devices.place(leaf))
        assert again.sharding == array.sharding
        np.testing.assert_array_equal(again, leaf)
        assert copy.is_finite
    bad = PATTERN.copy()
    bad[-1, -1] = np.nan
    assert not HostCopy.of(jax.device_put(bad, devices.place(bad))).is_finite


@pytest.mark.parametrize("number", [2, 4])
def test_a_part_that_is_not_finite_is_not_saved(tmp_path, monkeypatch, number):
    devices = some(FsdpDevices, number)
    monkeypatch.setattr(
        Sheet, "ema_rate", staticmethod(lambda step: jnp.where(step == 1, jnp.inf, 0.5))
    )
    with pytest.raises(UserError, match="ema_params.bias is not finite after update 2"):
        train(tmp_path, 4, devices, Sheet())


def test_what_one_device_cannot_hold_four_can(tmp_path, monkeypatch):
    """Five arrays of the kernel's 6 KiB, whole or in quarters; an update takes about 25 KiB more."""
    monkeypatch.setattr(memory, "available", lambda device: 42 * 1024)
    task = Sheet(optimizer=optax.adam(1e-3), widths=(0.1,))
    with pytest.raises(UserError, match="an update of a sheet needs .*state 30.1 KiB"):
        train(tmp_path / "whole", 1, some(ShardMapDevices), task)
    train(tmp_path / "split", 1, some(FsdpDevices), task)
    monkeypatch.setattr(memory, "available", lambda device: 20 * 1024)
    with pytest.raises(UserError, match="the state alone .* more devices with data_parallel=fsdp"):
        train(tmp_path / "whole", 1, some(ShardMapDevices), task)
    monkeypatch.setattr(memory, "available", lambda device: 13 * 1024)
    with pytest.raises(UserError, match="training a sheet needs 13.6 KiB .*state 7.57 KiB"):
        train(tmp_path / "other", 1, some(FsdpDevices), task)


def test_nothing_to_split_is_refused(tmp_path):
    with pytest.raises(
        UserError, match="fsdp on 4 devices splits nothing of this network: no array of 1024"
    ) as error:
        train(tmp_path, 1, some(FsdpDevices), Mean())
    assert "the largest is a number" in str(error.value)
    with pytest.raises(UserError, match="has a dimension that 3 divides, and the largest is 94x16"):
        FsdpDevices((*jax.devices()[:3],)).template(
            {"kernel": jax.ShapeDtypeStruct((94, 16), np.float32)}
        )
    # One device has all of it anyway.
    train(tmp_path / "one", 1, some(FsdpDevices, 1), Mean())
