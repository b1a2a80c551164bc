"""Times drawn by past losses: agreement with the published sampler, an unbiased loss, and a history independent of devices and stops."""

import dataclasses
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from score_sde import data
from score_sde.devices import FsdpDevices, PmapDevices
from score_sde.errors import ConfigError
from score_sde.keys import TrainingKeys, image_keys
from score_sde.training.checkpoints import Checkpoints, checkpoint_folder
from score_sde.training.feed import feed, stacked
from score_sde.training.kinds import KINDS
from score_sde.training.loss_history import LossHistory, empty_history
from score_sde.training.score_task import build_score_task, train
from score_sde.training.start import fresh, state_of, state_shapes
from score_sde.training.step import build_train_step

# openai/guided-diffusion 22e0df8, LossSecondMomentResampler, float64: 30 batches of six losses at twelve steps
GOLDEN = Path(__file__).parents[1] / "golden" / "peers" / "gd_resampler.npz"


def test_the_published_sampler(x64):
    """Its probabilities and warmup state after each batch; its history and weights at the end."""
    with np.load(GOLDEN) as file:
        golden = dict(file)
    uniform, kept = float(golden["uniform_prob"]), int(golden["history_per_term"])
    history = LossHistory(jnp.zeros((12, kept)), jnp.zeros(12, jnp.int32))
    add = jax.jit(lambda history, u, losses: history.added(u, losses))
    was_full = []
    for t, losses, weights in zip(
        golden["t"], golden["losses"], golden["weights_after"], strict=True
    ):
        history = add(history, jnp.asarray((t + 0.5) / 12), jnp.asarray(losses))
        assert_allclose(history.probabilities(uniform), weights / weights.sum(), rtol=1e-12)
        was_full.append(bool(history.is_full))
    assert_array_equal(was_full, golden["warmed_up"])
    oldest_first = [
        np.roll(row, -(int(count) % kept))
        for row, count in zip(history.losses, history.counts, strict=True)
    ]
    assert_allclose(oldest_first, golden["history"], rtol=1e-15)
    assert_allclose(history.probabilities(uniform), golden["probabilities"], rtol=1e-12)
    weight = history.weight(jnp.asarray((np.arange(12) + 0.5) / 12))
    assert_allclose(weight, golden["importance_weights"], rtol=1e-12)


def full_history(losses):
    return LossHistory(jnp.asarray(losses)[:, None], jnp.ones(len(losses), jnp.int32))


def test_many_losses_at_once_are_the_same_one_by_one():
    """A batch with more losses of one cell than are stored."""
    rng = np.random.default_rng(0)
    u, losses = rng.random(40).astype(np.float32), rng.random(40).astype(np.float32)
    add = jax.jit(lambda history, u, losses: history.added(u, losses))
    together = one_by_one = empty_history(3, kept=4)
    together = add(together, u, losses)
    for i in range(40):
        one_by_one = add(one_by_one, u[i : i + 1], losses[i : i + 1])
    assert_array_equal(together.losses, one_by_one.losses)
    assert_array_equal(together.counts, one_by_one.counts)
    last = [losses[np.floor(3 * u) == cell][-4:] for cell in range(3)]
    assert_array_equal(np.sort(together.losses), np.sort(last))


def test_an_expectation_is_the_even_one():
    """The sum of p w is 1 by construction, and the mean of w f over evenly spaced u is the integral of f for any probabilities.

    In a cell with a fraction p of the M points, the error of the mean is 1/(M p) times the variation of f there.
    """
    history = full_history([0.1, 3.0, 0.0, 1.0, 0.4])
    p = history.probabilities()
    assert_allclose(p, 0.999 * np.array([0.1, 3, 0, 1, 0.4]) / 4.5 + 0.001 / 5, rtol=1e-5)
    cells = (jnp.arange(5) + 0.5) / 5
    assert_allclose(jnp.sum(p * history.weight(cells)), 1.0, rtol=1e-6)
    even = (jnp.arange(2**20) + 0.5) / 2**20
    u = np.asarray(history.drawn(even), np.float64)
    assert np.all(np.diff(u) >= 0)
    counts = np.bincount(np.floor(5 * u).astype(int), minlength=5)
    assert_allclose(counts / 2**20, p, atol=2e-6)
    weight = np.asarray(history.weight(jnp.asarray(u, jnp.float32)), np.float64)
    assert_allclose(np.mean(weight * np.sin(3 * u)), (1 - np.cos(3)) / 3, rtol=2e-3)


def test_levels_of_a_chain_are_cells():
    """floor(u N) of a drawn u is the level of its interval of [0, 1), one of a thousand; at an end of it, one of two."""
    history = full_history(np.linspace(0.5, 2.0, 1000).astype(np.float32))
    ends = np.cumsum(np.asarray(history.probabilities(), np.float64))
    middles = jnp.asarray((np.append(0.0, ends[:-1]) + ends) / 2, jnp.float32)
    assert_array_equal(np.floor(np.asarray(history.drawn(middles) * 1000)), np.arange(1000))
    for shift in (0.0, 1e-7, -1e-7):
        u = jnp.clip(jnp.asarray(ends[:-1] + shift, jnp.float32), 0, 1 - 2**-24)
        drawn = history.drawn(u)
        level = np.floor(np.asarray(drawn * jnp.float32(1000)))
        assert_array_equal(level, history.cell(drawn))
        assert np.abs(level - np.searchsorted(ends, np.asarray(u, np.float64))).max() <= 1


def test_until_all_cells_are_full_times_are_even():
    u = jnp.linspace(0.0, 0.999, 50)
    history = LossHistory(jnp.full((4, 2), 3.0), jnp.asarray([2, 2, 1, 3], jnp.int32))
    assert_allclose(history.drawn(u), u, atol=2e-6)
    assert_array_equal(history.weight(u), 1.0)


@pytest.fixture
def cells(config):
    """Two cells: full after a few updates of eight images."""
    config.training.time_cells = 2
    config.training.eval_freq = 0
    return config


def after(config, ways, updates):
    """The states after so many updates, by each way of sharing images."""
    task = build_score_task(config)
    for devices in ways:
        step, state = build_train_step(task, devices), fresh(task, devices)
        resident, steps = feed(0, 8, data.load(config).train, 0, devices)
        for _ in range(updates):
            state, _ = step(state, (), resident, devices.split(stacked([next(steps)])))
        yield jax.device_get(state)


def test_devices_have_one_history(cells):
    """All losses of a batch by place: equal up to rounding, whichever device had the images; and sharded like the state."""
    cells.optim.eps = 1.0
    one, four = PmapDevices((*jax.devices()[:1],)), FsdpDevices((*jax.devices()[:4],))
    first, second = (state.history for state in after(cells, (one, four), 4))
    assert np.all(first.counts >= 10)
    assert_allclose(first.losses, second.losses, rtol=1e-5)
    assert_array_equal(first.counts, second.counts)


def test_what_is_remembered_is_the_loss_without_its_weight(cells):
    """The losses of an update with uneven times, computed by hand at the times chosen by the history."""
    task = build_score_task(cells)
    history = LossHistory(jnp.stack([jnp.full(10, 1.0), jnp.full(10, 3.0)]), jnp.full(2, 10))
    drawing, even = task.recalling(history), task.objective
    split = data.load(cells).train
    batch = next(split.batches(0, 8))
    key = task.key(0)

    @jax.jit
    def both(params):
        weighted = drawing.losses(params, params, (), jnp.int32(0), batch)
        base = even.draw(key, image_keys(TrainingKeys, key, jnp.arange(8)).time, jnp.arange(8), 8)
        u = history.drawn(base)
        moved = dataclasses.replace(even, draw=lambda *_: u)
        plain = moved.training_losses(params, batch, key)
        return weighted, plain, u, drawing.remembered(history, jnp.int32(0), weighted)

    weighted, plain, u, found = both(task.init())
    late = np.asarray(u) >= 0.5
    assert 0 < late.sum() < 8
    # p = 1/4 and 3/4, nearly: the late half is drawn three times as often.
    assert_allclose(weighted, plain * np.where(late, 2 / 3, 2), rtol=2e-3)
    for cell, of_cell in enumerate((~late, late)):
        assert_allclose(found.losses[cell, : of_cell.sum()], np.asarray(plain)[of_cell], rtol=1e-5)
        assert_array_equal(found.losses[cell, of_cell.sum() :], 1.0 + 2 * cell)


def test_a_resumed_run_remembers(cells, tmp_path):
    """Six updates, of which the last two are repeated from the checkpoint before: history and state are equal bit for bit."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    cells.training.checkpoint_freq = 4
    train(cells, whole)
    shutil.copytree(whole, parts)
    shutil.rmtree(checkpoint_folder(parts) / "6")
    train(cells, parts)
    shapes = state_shapes(build_score_task(cells))
    found = []
    for folder in (whole, parts):
        with Checkpoints(folder) as checkpoints:
            found.append(checkpoints.restore(shapes))
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        assert_array_equal(a, b)
    assert np.all(found[0].history.counts >= 10)


def test_without_cells_nothing_is_remembered(config):
    """Checkpoints are then the same as before the history existed."""
    task = build_score_task(config)
    assert task.first_history() == ()
    assert state_of(task, {}).history == ()
    assert len(task.groups) == 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"training.time_cells": -1}, "training.time_cells=-1: expected 0 or more"),
        ({"training.time_cells": 20_000}, "at most 10000"),
        (
            {"training.task": "classifier", "data.image_size": 8},
            "training.time_cells=2 applies only to score networks",
        ),
    ],
)
def test_bad_input(cells, fields, message):
    cells.update_from_flattened_dict(fields)
    with pytest.raises(ConfigError, match=message):
        KINDS[cells.training.task].build(cells, None)
