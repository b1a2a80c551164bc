"""Replaying an update: its losses and gradients in closed form, and those of the run itself."""

import json
import shutil

import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.data.fingerprint import Fingerprint
from score_sde.devices import PmapDevices
from score_sde.errors import UserError
from score_sde.modes import replay as mode
from score_sde.sde_lib import build_sde
from score_sde.training.loop import train_task
from score_sde.training.origin import origin_of
from score_sde.training.recorded_config import record_config
from score_sde.training.replay import check_same_updates, replay
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


def test_the_worst_are_what_is_no_number_and_then_the_largest_of_either_sign():
    names, values = np.array([*"abcd"]), np.array([1.0, -5.0, np.nan, 2.0])
    assert [*mode.worst(names, values)] == [*"cbda"]


class Halved(Mean):
    """The gradient is of half the parameter."""

    projected = staticmethod(lambda params: {"p": params["p"] / 2})


def test_a_projected_gradient_is_that_of_the_projected_parameters(tmp_path):
    """p is 0, then 27/2; the second update starts from 27/4."""
    train_task(Halved(), PLAN, SPLIT, tmp_path, PmapDevices())
    found = replay(Halved(), PLAN, SPLIT, tmp_path, PmapDevices(), 2)
    np.testing.assert_array_equal(found.losses, (6.75 + 5 - VALUES[found.images]) ** 2)
    assert found.grad_norms == {"p": 2 * (27 - 6.75)}
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert lines[1]["grad_norm"] == pytest.approx(found.grad_norm, rel=1e-7)


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
    config.optim.lr = 1.0
    with pytest.raises(UserError, match=r"lr=1.0 "):
        mode.run(config, sde, tmp_path)
    config.seed = 1
    with pytest.raises(UserError, match="seed=1"):
        mode.run(config, sde, tmp_path)


IMAGES = Fingerprint(8, "a")


def test_updates_are_made_again_by_the_config_of_their_step_alone(tmp_path):
    """With a rate changed after update 4: 4 used the first rate, 5 the second, and replaying 5 from before 4 uses both."""
    first, second = get_config(), get_config()
    second.optim.lr, second.data.folder = 1e-3, "elsewhere"
    record_config(first, tmp_path, None, IMAGES)
    record_config(second, tmp_path, 4, IMAGES)
    (tmp_path / "checkpoints" / "2").mkdir(parents=True)
    for step in (3, 4, 0):
        check_same_updates(first, tmp_path, IMAGES, step)
        with pytest.raises(UserError, match=r"another config: optim.lr=0.001 \(0.0002\); give"):
            check_same_updates(second, tmp_path, IMAGES, step)
    for config in (first, second):
        with pytest.raises(UserError, match="optim.lr changed between the checkpoint of step 2"):
            check_same_updates(config, tmp_path, IMAGES, 5)
    (tmp_path / "checkpoints" / "4").mkdir()
    check_same_updates(second, tmp_path, IMAGES, 5)
    with pytest.raises(UserError, match=r"optim.lr=0.0002 \(0.001\)"):
        check_same_updates(first, tmp_path, IMAGES, 5)
    with pytest.raises(UserError, match=r"dataset.hash='b' \('a'\)"):
        check_same_updates(second, tmp_path, Fingerprint(8, "b"), 5)


def test_updates_from_the_beginning_need_its_weights(tmp_path):
    config = get_config()
    config.training.init_from = "runs/a"
    record_config(config, tmp_path, None, IMAGES)
    check_same_updates(config, tmp_path, IMAGES, 1)
    config.training.init_from = ""
    with pytest.raises(UserError, match=r"training.init_from='' \('runs/a'\)"):
        check_same_updates(config, tmp_path, IMAGES, 1)
    (tmp_path / "checkpoints" / "2").mkdir(parents=True)
    check_same_updates(config, tmp_path, IMAGES, 3)


def checkpoint(folder, step, sums):
    """A complete one, of files with these checksums."""
    (folder / "checkpoints" / str(step)).mkdir(parents=True, exist_ok=True)
    (folder / "checkpoints" / str(step) / "sha256.json").write_text(sums)


def test_updates_from_the_beginning_need_the_weights_as_they_were(tmp_path, capsys):
    """Not those of a folder that was trained further or anew since, but for updates that are made from a checkpoint of the run's own."""
    config, source, run = get_config(), tmp_path / "source", tmp_path / "run"
    run.mkdir()
    config.training.init_from = str(source)
    checkpoint(source, 500, "a")
    record_config(config, run, None, IMAGES, origin=origin_of(config))
    check_same_updates(config, run, IMAGES, 1)
    checkpoint(source, 900, "a")
    with pytest.raises(UserError, match=r"step 500 \(sha256 \w{8}\) of .* which now has step 900"):
        check_same_updates(config, run, IMAGES, 1)
    shutil.rmtree(source / "checkpoints" / "900")
    check_same_updates(config, run, IMAGES, 1)
    checkpoint(source, 500, "b")
    checkpoint(run, 2, "c")
    record_config(config, run, 2, IMAGES)  # goes on: what it began with stays
    check_same_updates(config, run, IMAGES, 3)
    with pytest.raises(
        UserError, match="choose an update later than 2, the run's first checkpoint"
    ):
        check_same_updates(config, run, IMAGES, 2)
    shutil.rmtree(source)
    with pytest.raises(UserError, match="which now has nothing"):
        check_same_updates(config, run, IMAGES, 2)
    source.write_bytes(b"a published file")
    record_config(config, run, None, IMAGES, origin=origin_of(config))
    check_same_updates(config, run, IMAGES, 1)
    source.write_bytes(b"another")
    with pytest.raises(UserError, match=r"from the file .* now has the file"):
        check_same_updates(config, run, IMAGES, 1)
    assert capsys.readouterr().err == ""
    record_config(config, run, None, IMAGES)
    check_same_updates(config, run, IMAGES, 1)
    assert "did not record the weights" in capsys.readouterr().err


def test_adapters_are_of_the_weights_that_their_folder_keeps(tmp_path):
    config, source = get_config(), tmp_path / "source"
    config.training.init_from, config.training.lora.rank = str(source), 1
    checkpoint(source, 500, "a")
    record_config(config, tmp_path, None, IMAGES, origin=origin_of(config))
    checkpoint(source, 900, "b")
    with pytest.raises(UserError, match="the run started from step 500"):
        check_same_updates(config, tmp_path, IMAGES, 1)
    checkpoint(tmp_path, 4, "c")
    check_same_updates(config, tmp_path, IMAGES, 1)


def test_what_is_not_finite_comes_first():
    worst = mode.worst(np.array([5, 6, 7]), np.array([2.0, np.nan, 3.0]))
    assert [*worst] == ["6", "7", "5"]
