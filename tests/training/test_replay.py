"""One update again: its losses and gradients in closed form, and those of the run itself."""

import json

import numpy as np
import pytest

from score_sde.devices import PmapDevices
from score_sde.errors import UserError
from score_sde.modes import replay as mode
from score_sde.sde_lib import build_sde
from score_sde.training.loop import train_task
from score_sde.training.replay import replay
from score_sde.training.score_task import train
from score_sde.training.task import Plan
from tests.training.test_task import SPLIT, VALUES, Mean

PLAN = Plan(3, 8, 4, log_freq=1, checkpoint_freq=2, keep_checkpoints=0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train_task(Mean(), PLAN, SPLIT, folder, PmapDevices())
    return folder


@pytest.mark.parametrize(("step", "before"), [(1, 0), (2, 0), (3, 2), (4, 2), (5, 4), (0, 4)])
def test_losses_and_gradient_of_an_update(trained, step, before):
    """After n updates p = 27 - 27 / 2^n; an image's loss is (p + 5 - image)^2 and the mean's gradient 2 (p - 27)."""
    found = replay(Mean(), PLAN, SPLIT, trained, PmapDevices(), step)
    assert (found.step, found.from_checkpoint) == (step or 5, before)
    p = 27 - 27 / 2 ** (found.step - 1)
    np.testing.assert_array_equal(found.losses, (p + 5 - VALUES[found.images]) ** 2)
    assert sorted(found.images) == [*range(8)]
    assert found.grad_norms == {"p": 2 * (27 - p)}
    if found.step <= 4:
        lines = [json.loads(line) for line in (trained / "metrics.jsonl").open()]
        assert lines[found.step - 1]["loss"] == pytest.approx(found.loss, rel=1e-7)
        assert lines[found.step - 1]["grad_norm"] == pytest.approx(found.grad_norm, rel=1e-7)


def test_the_mode_names_the_images_and_parameters_of_a_networks_update(config, tmp_path):
    config.training.update(n_iters=3, log_freq=1, checkpoint_freq=1, eval_freq=0)
    sde = build_sde(config)
    train(config, tmp_path)
    config.training.replay_step = 3
    mode.check(config, sde)
    figures = mode.run(config, sde, tmp_path)
    recorded = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()][2]
    assert figures["from_checkpoint"] == 2
    assert figures["loss"] == pytest.approx(recorded["loss"], rel=1e-5)
    assert figures["grad_norm"] == pytest.approx(recorded["grad_norm"], rel=1e-5)
    with np.load(figures["arrays"]) as arrays:
        order = np.argsort(-arrays["losses"])
        assert [*figures["images"]] == [str(arrays["images"][i]) for i in order]
        assert np.linalg.norm(arrays["grad_norms"]) == pytest.approx(figures["grad_norm"])
    config.seed = 1
    with pytest.raises(UserError, match="seed=1"):
        mode.run(config, sde, tmp_path)


def test_what_is_not_finite_comes_first():
    worst = mode.worst(np.array([5, 6, 7]), np.array([2.0, np.nan, 3.0]))
    assert [*worst] == ["6", "7", "5"]
