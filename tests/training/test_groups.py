"""The loss grouped by noise: the groups make up the whole, and each image is in the group of its noise."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_sde import data
from score_sde.devices import PmapDevices
from score_sde.training.feed import feed, stacked
from score_sde.training.groups import GROUPS, Grouped
from score_sde.training.loop import train_task
from score_sde.training.score_task import build_score_task
from score_sde.training.state import first_state
from score_sde.training.step import build_train_step
from score_sde.training.task import Plan
from tests.training.test_task import SPLIT, VALUES, Mean, run


class Apart(Mean):
    """Small images and large ones, and a group that has none."""

    groups = ("small", "none", "large")

    def group_of(self, step, batch):
        return jnp.where(batch.images[:, 0, 0, 0] < 10, 0, 2)


def test_groups_have_their_own_means_and_make_the_loss(tmp_path):
    """Four of the eight images are below 10: sums of squares of integers, exact in float32."""
    run(tmp_path, 2, Apart())
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for line, p in zip(
        lines, (0, 13.5), strict=True
    ):  # p before the update, which halves its distance to 27
        squares = np.square(p + 5 - VALUES)
        assert line["small"] == squares[:4].mean()
        assert line["large"] == squares[4:].mean()
        assert line["loss"] == (line["small"] + line["large"]) / 2 == squares.mean()
        assert "none" not in line


def test_a_line_is_the_mean_over_its_images_not_over_its_updates(tmp_path):
    """Batches of four of the eight images, with groups that change in size between updates."""

    class Frozen(Apart):
        optimizer = optax.sgd(0.0)

    plan = Plan(seed=3, batch_size=4, n_iters=4, log_freq=4, steps_per_call=2)
    train_task(Frozen(), plan, SPLIT, tmp_path, PmapDevices())
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    # Two epochs: every image twice.
    squares = np.square(5 - VALUES)
    assert line["small"] == squares[:4].mean()
    assert line["large"] == squares[4:].mean()
    assert line["loss"] == pytest.approx((line["small"] + line["large"]) / 2, rel=1e-7)


def test_a_task_without_groups_is_none():
    assert not isinstance(Mean(), Grouped)
    assert isinstance(Apart(), Grouped)


@pytest.mark.parametrize(("draws", "devices"), [("independent", 4), ("stratified", 1)])
def test_every_image_counts_in_the_bin_of_its_own_time(config, draws, devices):
    """The loss is u itself, so the mean of bin k lies in [k/4, (k+1)/4), and stratified u fill the bins evenly."""
    config.training.draws = draws
    task = build_score_task(config)
    object.__setattr__(task.objective, "loss", Shown(task.objective.loss))
    shared = PmapDevices((*jax.devices()[:devices],))
    state = jax.jit(
        lambda: first_state(task.init(), task.optimizer), out_shardings=shared.replicated()
    )()
    resident, steps = feed(0, 8, data.load(config).train, 0, shared)
    given = shared.split(stacked([next(steps)]))
    _, metrics = build_train_step(task, shared)(state, (), resident, given)
    sums, images = (np.asarray(part)[0] for part in metrics[GROUPS])
    assert sums.shape == (4,)
    assert images.sum() == 8
    np.testing.assert_allclose(sums.sum() / 8, metrics["loss"][0], rtol=1e-6)
    full = images > 0
    np.testing.assert_array_equal(np.floor(4 * sums[full] / images[full]), np.arange(4)[full])
    if draws == "stratified":
        np.testing.assert_array_equal(images, [2, 2, 2, 2])


class Shown:
    """A loss that is the u of its image."""

    def __init__(self, loss):
        self.log_snr = loss.log_snr

    def __call__(self, score_model, x0, u, z, dropout_keys=None):
        # With a gradient, of 0, that the optimiser can take.
        return u + 0 * score_model(x0, jnp.full_like(u, 0.5)).sum((1, 2, 3))


def ends(config):
    """(high, low) of each bin's log-SNR, from the names in the record."""
    names = build_score_task(config).groups
    assert all(name.startswith("loss_by_log_snr/") for name in names)
    return [[float(end) for end in name.partition("/")[2].split("_to_")] for name in names]


def test_bins_are_named_by_the_log_snr_at_their_ends(config):
    config.sde.name, config.training.eps = "vp", 1e-5
    t = np.array([1e-5, 0.25, 0.5, 0.75, 1.0])
    integral = 0.1 * t + 0.5 * (20 - 0.1) * t**2  # B, of beta
    exact = -np.log(np.expm1(integral))  # ln(exp(-B) / (1 - exp(-B)))
    found = ends(config)
    np.testing.assert_allclose([found[0][0], *(low for _, low in found)], exact, rtol=6e-3)
    assert [low for _, low in found[:-1]] == [high for high, _ in found[1:]]


def test_bins_of_equal_log_snr(config):
    config.training.update(times="log_snr", weighting="likelihood")
    widths = [high - low for high, low in ends(config)]
    np.testing.assert_allclose(widths, widths[0], rtol=1e-2)


def test_bins_of_a_chain(config):
    """For SMLD sigma falls from 50 to 0.01 in equal ratios, and the log-SNR is -2 ln sigma."""
    config.sde.name = "ve"
    config.training.continuous = False
    config.model.num_scales = 8
    sigmas = np.geomspace(0.01, 50, 8)[[0, 2, 4, 6, 7]]
    found = ends(config)
    exact = -2 * np.log(sigmas)
    np.testing.assert_allclose([found[0][0], *(low for _, low in found)], exact, rtol=6e-3)
