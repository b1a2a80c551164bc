"""Gradient accumulation: mean and gradient equal those of the whole batch, and each image keeps its noise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.data.batch import Batch
from score_sde.devices import PmapDevices
from score_sde.errors import UserError
from score_sde.models.networks import build_network
from score_sde.sde_lib import build_sde
from score_sde.training.accumulation import mean_and_gradient
from score_sde.training.feed import feed, stacked
from score_sde.training.objective import build_objective
from score_sde.training.settings import check_config
from score_sde.training.state import first_state
from score_sde.training.step import build_train_step
from tests.training.test_step import BATCH, Case, leaves
from tests.training.test_task import SPLIT, Mean


@pytest.mark.parametrize(
    ("parts", "unrolled"), [(1, False), (2, True), (4, False), (8, True), (8, False)]
)
def test_every_part_counts_once(parts, unrolled):
    """Sums of small integers, exact in float32: equal to that of the whole batch bit for bit."""
    batch = {"x": jnp.arange(16.0).reshape(8, 2), "y": jnp.arange(8.0)}
    params = {"a": jnp.array([3.0, -2.0]), "b": jnp.float32(5)}

    def mean_loss(params, batch):
        losses = batch["x"] @ params["a"] + jnp.square(params["b"]) * batch["y"]
        return jnp.mean(losses), losses

    (loss, losses), gradient = mean_and_gradient(mean_loss, params, batch, parts, unrolled)
    expected = np.arange(16).reshape(8, 2) @ [3, -2] + 25 * np.arange(8)
    np.testing.assert_array_equal(losses, expected)
    assert loss == expected.mean()
    np.testing.assert_array_equal(gradient["a"], [7.0, 8.0])
    assert gradient["b"] == 2 * 5 * 3.5


@pytest.mark.parametrize("unrolled", [True, False])
def test_an_image_that_is_not_finite_leaves_the_losses_of_other_parts_alone(unrolled):
    """(p x)^2 at p = 1: squares of x, and NaN where x is, which makes the mean and its gradient NaN."""

    def mean_loss(params, batch):
        losses = jnp.square(params["p"] * batch)
        return jnp.mean(losses), losses

    batch = jnp.array([1.0, np.nan, 3.0, 4.0, 5.0, 6.0])
    in_parts = jax.jit(lambda p, b: mean_and_gradient(mean_loss, p, b, 3, unrolled))
    (loss, losses), gradient = in_parts({"p": jnp.float32(1)}, batch)
    np.testing.assert_array_equal(losses, [1.0, np.nan, 9.0, 16.0, 25.0, 36.0])
    assert np.isnan(loss)
    assert np.isnan(gradient["p"])


@pytest.mark.parametrize("unrolled", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_parts_are_not_in_memory_together(unrolled):
    """For the gradient of six tanh, an eighth of the batch is stored each instead of all of it."""

    def mean_loss(params, batch):
        for w in params:
            batch = jnp.tanh(batch @ w)
        return jnp.mean(batch), jnp.mean(batch, axis=1)

    params = [jax.ShapeDtypeStruct((32, 32), jnp.float32)] * 6
    batch = jax.ShapeDtypeStruct((8192, 32), jnp.float32)
    needed = [
        jax.jit(lambda p, b, parts=parts: mean_and_gradient(mean_loss, p, b, parts, unrolled))
        .lower(params, batch)
        .compile()
        .memory_analysis()
        .temp_size_in_bytes
        for parts in (1, 8)
    ]
    assert needed[0] > 6 * 8192 * 32 * 4
    assert needed[1] < needed[0] / 3


@pytest.mark.parametrize("unrolled", [pytest.param(True, marks=pytest.mark.slow), False])
def test_the_noise_of_an_image_does_not_depend_on_its_part(config, unrolled):
    """The gradient with respect to one number per image is its loss; here, a sum over its noise, time and pixels."""
    objective = build_objective(config, build_network(config), build_sde(config))
    show = dataclasses.replace(
        objective, loss=lambda model, x0, u, z, keys: x0[:, 1, 2, 0] + 2 * u + 4 * z[:, 0, 3, 0]
    )
    images = jax.random.normal(jax.random.key(1), (8, 4, 4, 1))
    batch, key = Batch(images, (), jnp.arange(8, 16)), jax.random.key(0)

    def mean_loss(weights, part):
        losses = weights[part.index - 8] * show.training_losses({}, part, key)
        return jnp.mean(losses), losses

    expected = jax.jit(show.training_losses)({}, batch, key) / 8
    in_parts = jax.jit(lambda ones: mean_and_gradient(mean_loss, ones, batch, 4, unrolled)[1])
    gradient = in_parts(jnp.ones(8))
    np.testing.assert_array_equal(gradient, expected)
    assert len(np.unique(gradient)) == 8


def test_updates_in_parts_are_updates_to_the_bit():
    """For the mean in test_task.py, with integers and halves. Two devices with four images each, in halves and in quarters."""
    devices = PmapDevices((*jax.devices()[:2],))
    states = []
    for parts in (1, 2, 4):
        step = build_train_step(task := Mean(), devices, accumulation=parts)
        state = jax.device_put(first_state(task.init(), task.optimizer), devices.replicated())
        resident, steps = feed(3, 8, SPLIT, 0, devices)
        for _ in range(3):
            given = devices.split(stacked([next(steps)]))
            state, metrics = step(state, task.constants, resident, given)
        states.append((state, metrics))
    for other in states[1:]:
        jax.tree.map(np.testing.assert_array_equal, states[0], other)


@pytest.mark.slow
def test_updates_of_a_network_in_parts(config):
    """Two devices with four images each, in halves; eps = 1 keeps Adam from amplifying rounding errors of the order of summation."""
    config.optim.eps = 1.0
    whole, parts = Case(config, 2), Case(config, 2)
    parts.step = build_train_step(parts.task, parts.devices, accumulation=2)
    np.testing.assert_allclose(whole.run(0, 3), parts.run(0, 3), rtol=1e-6)
    for a, b in zip(leaves(whole.state), leaves(parts.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_a_scan_on_accelerators_and_none_on_a_cpu(config, monkeypatch):
    """The gradient of a convolution in a scan is 26 times slower on a CPU. The platform of compilation decides."""
    case = Case(config, 1)
    resident, steps = feed(0, BATCH, case.split, 0, case.devices)
    given = case.devices.split(stacked([next(steps)]))
    for platform, scans in (("cpu", False), ("gpu", True)):
        monkeypatch.setattr(PmapDevices, "platform", platform)
        step = build_train_step(case.task, PmapDevices((jax.devices()[0],)), accumulation=2)
        program = str(jax.make_jaxpr(step)(case.state, (), resident, given))
        assert ("scan[" in program) == scans


def test_parts_that_a_share_does_not_have_are_refused(config):
    config.training.update(batch_size=12, accumulation=2)
    with pytest.raises(UserError, match=r"on 4 devices with training.accumulation=2: .*of 8; .*=8"):
        check_config(config)
    config.training.update(accumulation=3)
    check_config(config)
