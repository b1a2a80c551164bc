"""With a score in closed form, training brings the bound close to the probability of the integer image."""

import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_sde.data.scaling import bits_per_dim_offset, dequantize, scale
from score_sde.devices import PmapDevices, replicated
from score_sde.errors import UserError
from score_sde.keys import Stream, stream_key
from score_sde.likelihood.dequantization import comparison
from score_sde.likelihood.dequantization.comparison import compare
from score_sde.likelihood.dequantization.dequantizer import UniformDequantizer
from score_sde.likelihood.dequantization.flow import FlowDequantizer, init_params
from score_sde.likelihood.dequantization.objective import build_bound
from score_sde.likelihood.dequantization.trained import build_flow
from score_sde.likelihood.dequantization.training import (
    build_task,
    train_dequantizer,
)
from score_sde.sde_lib import VP
from score_sde.training.checkpoints import restore_ema
from score_sde.training.feed import stacked
from score_sde.training.state import TrainState
from score_sde.training.step import build_train_step
from tests.likelihood.dequantization.two_pixels import (
    LEVELS,
    gaussian_score,
    images_of,
    log_probability,
)

SIZE = 20_000  # images by which gaps are measured


def train(config, split, folder, score=None):
    return train_dequantizer(config, score or gaussian_score(), VP(), split, folder)


def gaps(dequantizer):
    """ln P(v) - [ln p(v + u) - ln q(u|v)] in nats, one draw for each of many images, by the Gaussian's own density."""
    images, keys = images_of(SIZE, seed=1), jax.random.split(jax.random.key(5), SIZE)
    u, log_q = jax.jit(dequantizer.__call__)(images, keys)
    x = scale(dequantize(images, u, LEVELS), True)
    log_p = gaussian_score().log_density(x, jnp.full(SIZE, 1e-5))
    of_levels = 2 * math.log(2 / LEVELS)  # two pixels, x = 2 z / L - 1
    return log_probability(images) - np.asarray(log_p - log_q, np.float64) - of_levels


def test_the_bound_closes_on_the_probability(config, split, tmp_path):
    """The gap is a quarter nat for uniform noise, and less than a tenth of that for the flow after 150 updates.

    The bound cannot lie below the truth, by 5 standard errors only once in 3.5 million. The comparison, which only uses
    the score, finds the same gain within 5 of its own errors, exceeded once in 1.7 million.
    """
    trained = train(config, split, tmp_path)
    assert (trained.step, trained.stopped_by) == (config.dequantizer.n_iters, None)
    uniform, learnt = gaps(UniformDequantizer()), gaps(trained.dequantizer)
    error = learnt.std() / math.sqrt(SIZE)
    assert uniform.mean() == pytest.approx(0.25, abs=0.03)
    assert -5 * error < learnt.mean() < 0.1 * uniform.mean()
    config.dequantizer.repeats = 2
    seen = compare(
        config, trained.dequantizer, gaussian_score(), VP(), split, jax.random.key(0), show=False
    )
    per_bit = 2 * math.log(2)
    expected = (uniform.mean() - learnt.mean()) / per_bit
    seen_error = math.hypot(
        seen.gain.std() / math.sqrt(len(seen.gain)),
        (uniform - learnt).std() / math.sqrt(SIZE) / per_bit,
    )
    assert seen_error < 0.2 * expected
    assert abs(seen.gain.mean() - expected) < 5 * seen_error
    # In bits/dim: of the images that the model itself would make, -log2 P(v) / D and what is lost.
    total = (-log_probability(split.images).mean() + learnt.mean()) / per_bit
    of_mean = seen.learnt.std() / math.sqrt(len(seen.learnt))
    assert abs(seen.learnt.mean() - total) < 5 * of_mean


class NormalBound:
    """In place of a bound, a standard normal number of each image."""

    def __call__(self, dequantizer, score, images, key, places, of):
        keys = jax.vmap(lambda place: jax.random.fold_in(key, place))(places)
        return jax.vmap(jax.random.normal)(keys)

    def bits_per_dim(self, nats, dimension):
        return nats


def test_repeats_are_drawn_anew(config, split, monkeypatch):
    """The mean of four has a quarter of the variance: of 2048 images to 16 %, 5 standard errors sqrt(2 / 2048)."""
    monkeypatch.setattr(comparison, "build_bound", lambda *_: NormalBound())
    config.dequantizer.repeats = 4
    of = compare(
        config, UniformDequantizer(), gaussian_score(), VP(), split, jax.random.key(0), show=False
    )
    assert len(of.learnt) == 2048
    assert of.learnt.var() == pytest.approx(1 / 4, rel=0.16)


def test_weights_are_averaged_over_a_hundred_updates(config):
    """Once warmed up: a weight of 1 / 100 of the newest."""
    task = build_task(config, gaussian_score(), VP())
    assert float(task.ema_rate(jnp.int32(10**6))) == pytest.approx(1 - 1 / 100)


@pytest.mark.slow
def test_an_update_is_that_of_the_whole_batch(config, split):
    """On four devices, loss and gradient equal those of the whole batch, as seen in Adam's first step."""
    config.dequantizer.batch_size = 8
    task = build_task(config, gaussian_score(), VP())
    flow, bound, optimizer = build_flow(config), build_bound(config, VP()), task.optimizer
    batch = jax.tree.map(jnp.asarray, split.take(range(8)))
    rng = np.random.default_rng(0)
    template = jax.eval_shape(lambda: init_params(flow, bound.space.shape, jax.random.key(0)))
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape), jnp.float32), template
    )
    key, score = stream_key(config.seed, Stream.DEQUANTIZER_TRAIN), gaussian_score()

    def mean_loss(params):
        step_key = jax.random.fold_in(key, 3)
        nats = bound(FlowDequantizer(params, flow), score, batch.images, step_key, batch.index, 8)
        return jnp.mean(nats) / (2 * math.log(2))

    loss, gradient = jax.jit(jax.value_and_grad(mean_loss))(params)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    expected = optax.apply_updates(params, updates)

    state = TrainState(
        jnp.int32(3), *(jax.tree.map(jnp.copy, params) for _ in range(2)), optimizer.init(params)
    )
    state = jax.device_put(state, replicated(jax.local_devices()))
    update = build_train_step(task, PmapDevices())
    after, metrics = update(state, score, None, PmapDevices().split(stacked([batch])))
    assert float(metrics["loss"][0]) == pytest.approx(float(loss), rel=1e-5)
    # Adam's first step is the sign of a gradient: where that is nearly zero rounding decides it.
    for new, old, slope in zip(*map(jax.tree.leaves, (after.params, expected, gradient))):
        certain = np.abs(slope) > 1e-4
        np.testing.assert_allclose(new[certain], old[certain], rtol=1e-4, atol=1e-6)


class Read:
    """Images that are read on the way: another program than of those that lie on the device, and rounded otherwise."""

    images = None

    def __init__(self, split):
        self.split, self.num_images = split, split.num_images

    def batches(self, *args):
        yield from self.split.batches(*args)


class Broken(Read):
    """They cannot be after five batches."""

    def batches(self, *args):
        yield from itertools.islice(self.split.batches(*args), 5)
        raise OSError("the disk is gone")


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(config, split, tmp_path):
    config.dequantizer.update(n_iters=6, batch_size=8, checkpoint_freq=4)
    whole = train(config, Read(split), tmp_path / "whole")
    with pytest.raises(OSError, match="the disk is gone"):
        train(config, Broken(split), tmp_path / "killed")
    resumed = train(config, Read(split), tmp_path / "killed")
    assert resumed.step == 6
    for one, other in zip(*(jax.tree.leaves(r.dequantizer.params) for r in (whole, resumed))):
        np.testing.assert_array_equal(one, other)
    params, step = restore_ema(tmp_path / "killed", resumed.dequantizer.params)
    assert step == 6
    for one, other in zip(*map(jax.tree.leaves, (params, resumed.dequantizer.params))):
        np.testing.assert_array_equal(one, other)
    lines = [json.loads(line) for line in (tmp_path / "killed/metrics.jsonl").open()]
    assert [line["step"] for line in lines] == [6]
    config.dequantizer.width = 8
    with pytest.raises(UserError, match=r"width=8 \(trained with 16\)"):
        train(config, split, tmp_path / "killed")


def test_a_loss_that_is_not_finite_stops_and_is_not_saved(config, split, tmp_path):
    config.dequantizer.update(n_iters=4, batch_size=8, checkpoint_freq=1)
    score = gaussian_score().replace(mean=jnp.array([jnp.nan, 0.0]))
    with pytest.raises(UserError, match=r"update 1 of the dequantizer \(seed 42\) has loss nan"):
        train(config, split, tmp_path, score)
    assert not [path for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()]


def test_bits_are_those_of_the_offset(config):
    """Conversion from nats of x to bits of levels: a density of 1/2 on [-1, 1] costs log2 L bits per pixel."""
    bits = build_bound(config, VP()).bits_per_dim(np.array([3 * math.log(2)]), 3)
    assert bits == pytest.approx(math.log2(LEVELS))
    assert bits_per_dim_offset(LEVELS, True) == math.log2(LEVELS) - 1
