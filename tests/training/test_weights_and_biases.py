"""Weights & Biases with a stand-in for its package: the logged values, and that its errors never end a run."""

import json
import sys
import threading
import time
import types

import numpy as np
import pytest
from PIL import Image

import main
from score_sde.configs.default import get_config
from score_sde.devices import PmapDevices
from score_sde.errors import UserError
from score_sde.training import weights_and_biases as module
from score_sde.training.loop import train_task
from score_sde.training.task import Evaluator, Plan
from score_sde.training.weights_and_biases import check_wandb, weights_and_biases
from tests.training.test_task import SPLIT, Mean


class Run:
    def __init__(self, fails=()):
        self.fails, self.logged, self.finished, self.metrics = fails, [], 0, []

    def define_metric(self, *arguments, **options):
        self.metrics.append((arguments, options))

    def log(self, figures):
        if "log" in self.fails:
            raise ConnectionError("no\nroute")
        self.logged.append(figures)

    def finish(self):
        if "finish" in self.fails:
            threading.Event().wait()
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch):
    """The package; `runs` are those that were begun, `begun` with what."""
    stub = types.ModuleType("wandb")
    stub.runs, stub.begun, stub.fails = [], [], ()
    stub.Image = lambda picture: ("picture", picture.size)

    def init(**options):
        if "init" in stub.fails:
            raise TimeoutError("api.wandb.ai does not answer")
        stub.begun.append(options)
        stub.runs.append(Run(stub.fails))
        return stub.runs[-1]

    stub.init = init
    monkeypatch.setitem(sys.modules, "wandb", stub)
    return stub


def train(folder, n_iters=3):
    config = get_config()
    config.training.wandb = "offline"
    task = Mean()
    picture = Image.fromarray(np.zeros((4, 6), np.uint8))
    task.evaluators = {"pictures": Evaluator(2, draw=lambda averaged, step: {"samples": picture})}
    plan = Plan(seed=3, batch_size=8, n_iters=n_iters, log_freq=1)
    return train_task(
        task, plan, SPLIT, folder, PmapDevices(), watch=weights_and_biases(config)
    ).figures


def test_it_is_told_what_the_record_has(wandb, tmp_path):
    train(tmp_path)
    (run,), (options,) = wandb.runs, wandb.begun
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    logged = [line for line in run.logged if "seconds_step" not in line]
    assert [line["step"] for line in logged] == [1, 2, 2, 3, 3]
    assert len(run.logged) == len(logged) + 3
    figures = [line for line in run.logged if "loss" in line]
    assert [line["loss"] for line in figures] == pytest.approx([line["loss"] for line in lines])
    assert [line for line in run.logged if "samples" in line] == [
        {"step": step, "samples": ("picture", (6, 4))} for step in (2, 3)
    ]
    assert run.metrics == [(("*",), {"step_metric": "step"})]
    assert run.finished == 1
    assert (options["mode"], options["dir"]) == ("offline", str(tmp_path))
    assert options["config"]["training"]["wandb"] == "offline"
    # The same run of theirs goes on.
    train(tmp_path, 4)
    assert wandb.begun[1]["id"] == options["id"]
    assert {line["step"] for line in wandb.runs[1].logged} == {4}


@pytest.mark.parametrize("what", ["init", "log"])
def test_its_failures_are_said_once_and_the_run_goes_on(wandb, tmp_path, capsys, what):
    wandb.fails = (what,)
    assert train(tmp_path)["step"] == 3
    err = capsys.readouterr().err
    assert err.count("nothing more is logged to Weights & Biases") == 1
    assert ("api.wandb.ai does not answer" in err) == (what == "init")
    assert ("no route" in err) == (what == "log")


def test_a_run_does_not_wait_for_ever_for_what_is_still_to_be_sent(
    wandb, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    wandb.fails = ("finish",)
    config = get_config()
    config.training.wandb = "online"
    (begin,) = weights_and_biases(config)
    watcher, began = begin(tmp_path), time.monotonic()
    watcher.close()
    assert time.monotonic() - began < 10
    assert "does not answer" in capsys.readouterr().err


def test_without_the_package_a_line_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import then fails
    monkeypatch.setattr("score_sde.modes.train.run", None)  # it must not come to that
    arguments = "--config=configs/vp_digits.py --mode=train --config.training.wandb=offline"
    with pytest.raises(UserError, match="needs the package wandb .*: pip install wandb, or set"):
        main.run(["main.py", *arguments.split(), f"--workdir={tmp_path / 'new'}"])
    assert not (tmp_path / "new").exists()


def test_it_is_off_unless_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    config = get_config()
    check_wandb(config.training.wandb)
    assert weights_and_biases(config) == ()
