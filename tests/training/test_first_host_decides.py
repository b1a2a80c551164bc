"""Hosts that see a shared folder at different moments do what the first host decides: here as a host whose first sees less than it does."""

import contextlib
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.devices import PmapDevices
from score_sde.errors import UserError
from score_sde.generation import denoising_errors
from score_sde.modes import kept_rows
from score_sde.training import checkpoints as checkpoints_module
from score_sde.training import record as record_module
from score_sde.training import run as run_module
from score_sde.training import start as start_module
from score_sde.training.checkpoints import BEST, HELD_OUT, Checkpoints
from score_sde.training.record import Record
from score_sde.training.run import Run
from score_sde.training.score_task import build_score_task
from score_sde.training.task import Evaluator
from score_sde.unfinished import UnfinishedFolder
from score_sde.version import made_by
from tests.generation.test_denoising_errors import asked, estimated
from tests.training.test_checkpoints import shapes_only, two_checkpoints
from tests.training.test_start import other_run


def first_sees(monkeypatch, module, answer):
    monkeypatch.setattr(module, "of_first_host", lambda value: answer)


def test_batches_of_an_interrupted_command(monkeypatch, tmp_path):
    UnfinishedFolder(tmp_path, {}).save(0, {"nfe": np.zeros(2)})
    assert UnfinishedFolder(tmp_path, {}).found == {0}
    monkeypatch.setattr(
        "score_sde.unfinished.of_first_host", lambda value: [] if value == [0] else value
    )
    assert UnfinishedFolder(tmp_path, {}).load(0) is None


def test_rows_of_a_tradeoff(monkeypatch, tmp_path):
    made = []

    def make():
        made.append({"row": 1})
        return kept_rows.Made(made[-1], None)

    tasks = [kept_rows.Task("a row", {}, make)]
    for _ in range(2):
        assert kept_rows.made(tasks, tmp_path) == [{"row": 1, **made_by()}]
    assert len(made) == 1
    first_sees(monkeypatch, kept_rows, [None])
    kept_rows.made(tasks, tmp_path)
    assert len(made) == 2


def test_estimated_errors(monkeypatch, tmp_path):
    class Again(Exception):
        pass

    def again(*given):
        raise Again

    config = asked(num_times=3, num_images=16)
    estimated(config, tmp_path)
    monkeypatch.setattr(denoising_errors, "estimate", again)
    estimated(config, tmp_path)
    first_sees(monkeypatch, denoising_errors, False)
    with pytest.raises(Again):
        estimated(config, tmp_path)


def test_the_beginning_of_a_run(monkeypatch, tmp_path, config):
    """From scratch, at step 0, though a checkpoint of step 7 is there."""
    other_run(config, tmp_path)
    first_sees(monkeypatch, start_module, None)
    with Checkpoints(tmp_path) as checkpoints:
        began = start_module.start(build_score_task(config), checkpoints, PmapDevices())
    assert (int(began.state.step), began.how) == (0, "")


def test_what_is_recorded(monkeypatch, tmp_path):
    """The other hosts have no record to look into."""
    with contextlib.closing(Record(tmp_path, 0)) as record:
        record.write(3, loss=1.0)
    with monkeypatch.context() as patched:
        patched.setattr(jax, "process_index", lambda: 1)
        other = Record(tmp_path, 3)
    assert Record(tmp_path, 3).has(3, ["loss"])
    assert not other.has(3, ["loss"])
    first_sees(monkeypatch, record_module, True)
    assert other.has(3, ["loss"])


def test_pictures_that_are_drawn(monkeypatch):
    run, evaluator = Mock(step=3), Evaluator(1, drawn=lambda step: step == 4)
    assert not Run.made(run, evaluator)
    first_sees(monkeypatch, run_module, True)
    assert Run.made(run, evaluator)


def test_the_checkpoints_to_read(monkeypatch, tmp_path, config):
    two_checkpoints(config, tmp_path)
    first_sees(monkeypatch, checkpoints_module, [3])
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore_part("step", jnp.int32(0))[1] == 3
        with pytest.raises(UserError, match="checkpoint_step=7: .* has the steps 3; choose"):
            checkpoints.restore(shapes_only(config), 7)


def test_the_best_checkpoint(monkeypatch, tmp_path, config):
    """Of step 7, but the first host sees the figure of step 3 only."""
    two_checkpoints(config, tmp_path)
    with Checkpoints(tmp_path) as checkpoints:
        for step, loss in ((3, 2.0), (7, 1.0)):
            checkpoints.add_figures(step, {HELD_OUT: loss})
        assert checkpoints.restore_part("step", jnp.int32(0), BEST)[1] == 7
        answers = iter([[3, 7], [[3, 2.0]]])
        monkeypatch.setattr(checkpoints_module, "of_first_host", lambda value: next(answers))
        assert checkpoints.restore_part("step", jnp.int32(0), BEST)[1] == 3
