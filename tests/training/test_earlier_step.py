"""Training from an earlier checkpoint: the continuation is unchanged, and nothing is lost."""

import json
import os
import shutil

import jax
import numpy as np
import pytest

from score_sde.devices import PmapDevices
from score_sde.errors import UserError
from score_sde.training import earlier_step
from score_sde.training.checkpoints import saved_steps
from score_sde.training.loop import train_task
from score_sde.training.task import Plan
from tests.training.test_task import SPLIT, Mean


def run(folder, n_iters, from_step=0, keep=0):
    plan = Plan(
        3, 4, n_iters, log_freq=1, checkpoint_freq=1, keep_checkpoints=keep, from_step=from_step
    )
    return train_task(Mean(), plan, SPLIT, folder, PmapDevices())


def lines_of(folder):
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").open()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder, 4).state


@pytest.fixture
def trained(whole, tmp_path):
    folder, state = whole
    return shutil.copytree(folder, tmp_path / "run"), state


def test_the_steps_come_again_and_the_earlier_ones_stay_beside(trained, capsys):
    folder, whole = trained
    (folder / "config.json").write_text("{}")
    again = run(folder, 4, from_step=2).state
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    aside = folder / "after_step_2"
    assert f"back to step 2; what came after it is in {aside}" in capsys.readouterr().err
    assert saved_steps(aside) == [3, 4]
    assert lines_of(aside) == lines_of(folder) == [1, 2, 3, 4]
    assert (aside / "config.json").read_text() == "{}"
    assert saved_steps(folder / "checkpoints") == [1, 2, 3, 4]


def test_the_same_command_given_again_does_not_go_back_again(trained, capsys):
    folder, _ = trained
    run(folder, 5, from_step=2, keep=1)  # step 2 itself is gone at its end
    figures = run(folder, 6, from_step=2, keep=1).figures
    assert figures["step"] == 6
    assert "resuming from step 5" in capsys.readouterr().err
    assert saved_steps(folder / "after_step_2") == [3, 4]


def test_from_the_newest_step_too_the_same_command_goes_on(trained, capsys):
    """Nothing is moved, but the request is recorded."""
    folder, _ = trained
    assert run(folder, 5, from_step=4).figures["step"] == 5
    assert "back to step" not in capsys.readouterr().err
    assert run(folder, 6, from_step=4).figures["step"] == 6
    assert "resuming from step 5" in capsys.readouterr().err
    assert saved_steps(folder / "checkpoints") == [1, 2, 3, 4, 5, 6]
    assert saved_steps(folder / "after_step_4") == []


def test_nothing_is_moved_for_fewer_updates_than_there_are(trained):
    folder, _ = trained
    with pytest.raises(UserError, match=r"n_iters=1, but .* is at step 2 already"):
        run(folder, 1, from_step=2)
    assert saved_steps(folder / "checkpoints") == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("step", "damaged", "words"),
    [(7, None, "has checkpoints of the steps 1, 2, 3, 4"), (2, 2, "is damaged")],
)
def test_a_step_that_is_not_there_moves_nothing(trained, step, damaged, words):
    folder, _ = trained
    if damaged:
        next((folder / "checkpoints" / "2").rglob("manifest.ocdbt")).unlink()
    with pytest.raises(UserError, match=f"checkpoint_step={step}: .*{words}"):
        run(folder, 4, from_step=step)
    assert saved_steps(folder / "checkpoints") == [1, 2, 3, 4]
    assert not list(folder.glob("after_step_*"))


def test_every_host_refuses_what_the_first_does_and_only_the_first_moves(trained, monkeypatch):
    folder, _ = trained
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with pytest.raises(UserError, match="has checkpoints of the steps 1, 2, 3, 4"):
        earlier_step.go_back(folder, 7)
    earlier_step.go_back(folder, 2)
    assert saved_steps(folder / "checkpoints") == [1, 2, 3, 4]
    assert not list(folder.glob("after_step_*"))


def test_a_move_that_was_killed_is_taken_up_again(trained, monkeypatch):
    folder, whole = trained
    moves = iter([True, False])

    def rename(source, target):
        if not next(moves):
            raise KeyboardInterrupt
        os.rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(earlier_step.Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            run(folder, 4, from_step=1)
    again = run(folder, 4, from_step=1).state
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert saved_steps(folder / "after_step_1") == [2, 3, 4]
