"""Whatever ends a run, no saved update is lost, nothing invalid is saved, and the same command resumes."""

import errno
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import jax
import numpy as np
import optax
import pytest
from jax.experimental import multihost_utils

from score_sde.devices import PmapDevices
from score_sde.errors import UserError
from score_sde.training import interrupts, lock
from score_sde.training.about import read_about
from score_sde.training.checkpoints import saved_steps
from score_sde.training.evaluations import NotFinite
from score_sde.training.interrupts import Interrupts
from score_sde.training.lock import alone_in
from score_sde.training.loop import train_task
from score_sde.training.task import Evaluator, Plan
from tests.limited import room_for
from tests.training.test_task import SPLIT, Mean


class Recorded(Mean):
    """Leaves a file beside the checkpoints, as a task does."""

    def __init__(self, **changes):
        vars(self).update(changes)


def run(folder, n_iters=6, task=None, split=SPLIT, **plan):
    options = {"log_freq": 1, "checkpoint_freq": 1, "keep_checkpoints": 2, **plan}
    return train_task(
        task or Recorded(), Plan(3, 8, n_iters, **options), split, folder, PmapDevices()
    )


def steps_of(folder):
    return saved_steps(folder / "checkpoints")


def test_a_disk_without_room_ends_the_run_and_one_with_room_goes_on(tmp_path):
    """At each of these sizes another file is the first without room; the last is a file of a checkpoint."""
    whole = run(tmp_path / "whole", 3).state
    run(tmp_path / "begun", 1)
    refused = []
    for size in (0, 50, 300, 1000):
        folder = shutil.copytree(tmp_path / "begun", tmp_path / str(size))
        with room_for(size), pytest.raises(UserError, match="cannot (write|be written)") as error:
            run(folder, 3)
        assert "\n" not in str(error.value)
        refused.append(str(error.value).partition(f"{folder}/")[2].partition(" ")[0].split("/")[0])
        assert steps_of(folder) == [1]
        resumed = run(folder, 3).state
        for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
            np.testing.assert_array_equal(a, b)
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
        assert steps_of(folder) == [2, 3]
    assert refused == ["lock", "metrics.jsonl", "tensorboard", "checkpoints"]
    assert "the checkpoint of step 1 is kept" in str(error.value)


class Torn:
    """A split that is read on the way, until a file of it cannot be."""

    images, num_images = None, SPLIT.num_images

    def batches(self, *arguments):
        yield from itertools.islice(SPLIT.batches(*arguments), 4)
        raise UserError("30.png: image file is truncated")


def broken(averaged, step):
    raise ZeroDivisionError


class Coordinator:
    """What JAX's says to several hosts that are equally far: all stop at the step after the last that was asked about."""

    asked, chosen = 0, None

    def notice(self, averaged=None, step=0):
        self.chosen = self.chosen or self.asked + 1
        return {}

    def __call__(self, step):
        self.asked = step
        return step == self.chosen


def told(monkeypatch, step):
    """A task in whose evaluation after this step the scheduler announces its end; 0: before any update."""
    coordinator = Coordinator()
    monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", coordinator)
    if not step:
        return Recorded(record=lambda folder: coordinator.notice())
    return Recorded(evaluators={"announced": Evaluator(step, coordinator.notice)})


@pytest.mark.parametrize(("calls_of", "step", "ends"), [(1, 3, 4), (4, 4, 8), (4, 12, 16)])
def test_hosts_stop_after_the_call_in_which_their_end_is_announced(
    tmp_path, monkeypatch, calls_of, step, ends
):
    plan = {"steps_per_call": calls_of, "checkpoint_freq": 0}
    figures = run(tmp_path, 30, told(monkeypatch, step), **plan).figures
    assert (figures["stopped_by"], figures["step"]) == ("SIGTERM", ends)
    assert steps_of(tmp_path) == [ends]


def test_an_announced_end_comes_before_the_evaluations_which_the_next_run_makes(
    tmp_path, monkeypatch
):
    task, made = told(monkeypatch, 0), []

    def noted(averaged, step):
        made.append(step)
        return {"noted": 1.0}

    task.evaluators = {"noted": Evaluator(4, noted, figures=("noted",))}
    assert run(tmp_path, 8, task, steps_per_call=4).figures["step"] == 4
    assert not made
    monkeypatch.undo()
    run(tmp_path, 8, task, steps_per_call=4)
    assert made == [4, 8]
    run(tmp_path, 12, task, steps_per_call=4)
    assert made == [4, 8, 12]


def test_an_end_announced_before_any_update_is_heard_too(tmp_path, monkeypatch):
    task = told(monkeypatch, 0)
    assert run(tmp_path, 30, task, steps_per_call=4).figures["step"] == 4
    monkeypatch.undo()
    task = told(monkeypatch, 0)
    figures = run(tmp_path, 30, task).figures
    assert (figures["stopped_by"], figures["step"]) == ("SIGTERM", 4)


@pytest.mark.parametrize(
    ("options", "error", "what"),
    [
        ({"split": Torn()}, UserError, "reading the training images"),
        (
            {"task": Recorded(evaluators={"broken": Evaluator(4, broken)})},
            ZeroDivisionError,
            "an evaluation",
        ),
    ],
)
def test_an_error_of_what_is_no_update_loses_none(tmp_path, capsys, options, error, what):
    with pytest.raises(error):
        run(tmp_path, checkpoint_freq=100, **options)
    assert steps_of(tmp_path) == [4]
    assert f"{what} failed; step 4 is saved" in capsys.readouterr().err
    assert run(tmp_path).figures["step"] == 6


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        # 1e30 is a number; its square is none.
        (1e30, r"update 4 of a mean .* has loss inf .*; the checkpoint of step 2 is kept"),
        (
            float("inf"),
            r"params\.p is not finite after update 3.*; the checkpoint of step 2 is kept",
        ),
    ],
)
@pytest.mark.parametrize("checkpoint_freq", [1, 0])
def test_weights_whose_loss_nobody_has_seen_are_not_saved(tmp_path, rate, words, checkpoint_freq):
    """The third update is the non-finite one; it is also the last, so no later one would reveal it."""
    rates = optax.sgd(lambda count: jax.numpy.where(count == 2, rate, 0.25))
    with pytest.raises(NotFinite, match=words if checkpoint_freq else words.partition(";")[0]):
        run(tmp_path, 3, Recorded(optimizer=rates), checkpoint_freq=checkpoint_freq)
    assert steps_of(tmp_path) == [1, 2][: 2 * checkpoint_freq]


class Torn34And6(Recorded):
    """Of the third, fourth and sixth update the loss is no number."""

    # The rate halves the distance to 27 in each update, if the schedule has counted all that came before.
    optimizer = optax.sgd(lambda count: jax.numpy.where(count == 3, 0.0, 0.25))

    def losses(self, params, averaged, constants, step, batch):
        torn = (step == 2) | (step == 3) | (step == 5)
        return super().losses(params, averaged, constants, step, batch) / jax.numpy.where(
            torn, 0, 1
        )


@pytest.mark.parametrize("steps_per_call", [1, 3])
def test_updates_that_are_not_finite_can_be_left_out(tmp_path, capsys, steps_per_call):
    """At most two in a row: four halvings in seven updates, and the average follows at half of each step."""
    task, plan = Torn34And6(), {"steps_per_call": steps_per_call}
    state, figures = run(tmp_path / "two", 7, task, skip_nonfinite=2, **plan)
    p = averaged = 0.0
    for done in range(1, 5):
        p = 27 - 27 / 2**done
        averaged = (averaged + p) / 2
    assert (float(state.params["p"]), float(state.ema_params["p"])) == (p, averaged)
    assert (figures["step"], figures["skipped"]) == (7, 3)
    assert "step 6: loss inf, update skipped (3 so far)" in capsys.readouterr().err
    lines = [
        json.loads(line) for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [(line["step"], line["updates"]) for line in lines] == [(1, 1), (2, 1), (5, 1), (7, 1)]

    with pytest.raises(NotFinite, match="update 4 of"):
        run(tmp_path / "one", 6, task, skip_nonfinite=1, **plan)
    with pytest.raises(NotFinite, match="update 3 of"):
        run(tmp_path / "none", 6, task, **plan)


def test_a_step_that_is_passed_is_no_place_to_end(tmp_path):
    run(tmp_path, 4)
    with pytest.raises(UserError, match="n_iters=3, but .* is at step 4 already; set n_iters to 4"):
        run(tmp_path, 3)
    assert run(tmp_path, 4).figures["step"] == 4


def test_a_loss_says_of_how_many_updates_it_is_the_mean(tmp_path):
    run(tmp_path, 3, log_freq=5)
    run(tmp_path, 7, log_freq=5)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["updates"]) for line in lines] == [(3, 3), (5, 2), (7, 2)]


def test_a_second_run_in_the_folder_is_told_of_the_first(tmp_path):
    with alone_in(tmp_path), pytest.raises(UserError) as error:
        run(tmp_path)
    message = str(error.value)
    assert f"another run is training in {tmp_path}: process {os.getpid()} of " in message
    assert os.path.basename(sys.argv[0]) in message
    assert run(tmp_path, 1).figures["step"] == 1


def test_a_killed_process_holds_no_lock(tmp_path):
    code = f"""
import sys, time; from pathlib import Path; from score_sde.training.lock import alone_in
with alone_in(Path({str(tmp_path)!r})): print("held", flush=True); time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match=f"process {process.pid} of"), alone_in(tmp_path):
        pass
    process.kill()
    process.communicate()
    with alone_in(tmp_path):
        pass


@pytest.fixture
def quick_beats(monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.05)
    monkeypatch.setattr(lock, "WATCH", 0.5)


def elsewhere(folder):
    """As if the run that holds this folder were one of another machine, whose locks are unknown here."""
    path = folder / "lock"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "machine": "another", "host": "node7"}))


def test_a_run_of_another_machine_gives_signs_of_life(tmp_path, quick_beats, monkeypatch):
    with alone_in(tmp_path):
        elsewhere(tmp_path)
        monkeypatch.setattr(lock.fcntl, "flock", lambda *_: None)
        with pytest.raises(UserError, match=f"process {os.getpid()} of node7 since"):
            run(tmp_path)
    assert run(tmp_path, 1).figures["step"] == 1


def test_one_that_has_died_gives_none(tmp_path, quick_beats, monkeypatch, capsys):
    with alone_in(tmp_path):
        died = (tmp_path / "lock").read_text()
    (tmp_path / "lock").write_text(died)
    no_locks = OSError(errno.ENOSYS, "no locks")
    monkeypatch.setattr(lock.fcntl, "flock", Mock(side_effect=no_locks))
    run(tmp_path, 1)
    assert "is still marked as in use by" in capsys.readouterr().err
    run(tmp_path, 2)  # the end before was an orderly one
    assert "heartbeat" not in capsys.readouterr().err


def test_a_signal_is_answered_within_a_call(monkeypatch):
    """The call blocks the main thread, as XLA's do, so Python's signal handlers wait for its end."""
    said = []
    monkeypatch.setattr(interrupts, "say", lambda line: said.append((line, time.monotonic())))
    with Interrupts() as received:
        received.listen()
        kill = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM))
        kill.start()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 1_000_000)
        ended = time.monotonic()
        assert received.received == "SIGTERM"
    ((line, when),) = said
    assert line == "SIGTERM: the run saves and ends after the call in progress"
    assert when < ended - 0.05
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_saves_first_and_gives_its_name(tmp_path):
    seen = []

    def stop(averaged, step):
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    def look(averaged, step):
        seen.append(step)
        return {}

    task = Recorded(evaluators={"stop": Evaluator(2, stop), "look": Evaluator(5, look)})
    figures = run(tmp_path, 6, task, checkpoint_freq=0).figures
    assert (figures["stopped_by"], figures["step"], figures["checkpoint_step"]) == ("SIGTERM", 2, 2)
    assert not seen


def test_an_evaluation_that_a_signal_kept_from_a_step_is_made_by_the_run_that_goes_on(tmp_path):
    """The record equals that of an undisturbed run, line by line, and the checkpoint has its figure."""
    signalled = []

    def found(averaged, step):
        return {"found": float(averaged["p"])}

    def stop(averaged, step):
        if not signalled:
            signalled.append(step)
            os.kill(os.getpid(), signal.SIGTERM)
        return {"asked": 1.0}

    def lines(folder):
        rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows]

    evaluators = {
        "stop": Evaluator(2, stop, figures=("asked",)),
        "found": Evaluator(2, found, figures=("found",)),
    }
    task, plan = Recorded(evaluators=evaluators), {"checkpoint_freq": 3, "keep_checkpoints": 0}
    assert run(tmp_path / "stopped", 5, task, **plan).figures["stopped_by"] == "SIGTERM"
    assert lines(tmp_path / "stopped")[-1] == {"step": 2, "asked": 1.0}
    run(tmp_path / "stopped", 5, task, **plan)
    run(tmp_path / "whole", 5, task, **plan)
    assert lines(tmp_path / "stopped") == lines(tmp_path / "whole")
    known = read_about(tmp_path / "stopped" / "checkpoints" / "2").figures
    assert known.keys() == {"asked", "found"}
    # What is recorded is not made again, but at the end.
    seen = []
    look = Evaluator(2, lambda averaged, step: seen.append(step) or {}, figures=("found",))
    for step in (3, 4, 5):
        shutil.rmtree(tmp_path / "stopped" / "checkpoints" / str(step), ignore_errors=True)
    run(tmp_path / "stopped", 3, Recorded(evaluators={"look": look}), **plan)
    assert seen == [3]


def test_pictures_that_a_signal_kept_from_a_step_are_drawn_by_the_run_that_goes_on(tmp_path):
    """Of step 2 at the beginning of the second run, of step 5 at the end of it; those of step 4 are kept."""
    signalled, drawn = [], []

    def stop(averaged, step):
        if not signalled:
            signalled.append(step)
            os.kill(os.getpid(), signal.SIGTERM)
        return {"asked": 1.0}

    def draw(averaged, step):
        drawn.append((step, float(averaged["p"])))
        return {}

    evaluators = {
        "stop": Evaluator(2, stop, figures=("asked",)),
        "pictures": Evaluator(2, draw=draw, drawn=lambda step: step in dict(drawn)),
    }
    task = Recorded(evaluators=evaluators)
    assert run(tmp_path / "stopped", 5, task).figures["stopped_by"] == "SIGTERM"
    assert not drawn
    run(tmp_path / "stopped", 5, task)
    found, drawn[:] = [*drawn], []
    run(tmp_path / "whole", 5, task)
    assert [step for step, _ in found] == [2, 4, 5]
    assert found == drawn
    shutil.rmtree(tmp_path / "whole" / "checkpoints" / "5")
    drawn[:] = found[:2]
    run(tmp_path / "whole", 5, task)
    assert drawn == found


def test_ctrl_c_before_there_is_anything_to_save_ends_at_once(tmp_path):
    """During imports; the same holds during compilation, since no Python code is needed to respond."""
    command = [sys.executable, "main.py", "--config=configs/vp_digits.py", "--mode=train"]
    # Whoever starts the tests in the background lets them ignore SIGINT, and what they start would inherit that.
    inherited = signal.signal(signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        [*command, f"--workdir={tmp_path}"], stderr=subprocess.PIPE, text=True
    )
    signal.signal(signal.SIGINT, inherited)
    try:
        maps = Path(f"/proc/{process.pid}/maps")
        while "jaxlib" not in maps.read_text():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGINT  # to a shell 130
    assert "Traceback" not in err


def test_a_signal_in_the_last_evaluation_ends_at_once_since_all_is_saved(tmp_path):
    seen = {}

    def look(averaged, step):
        seen[step] = signal.getsignal(signal.SIGTERM), steps_of(tmp_path)
        return {}

    run(tmp_path, 4, Recorded(evaluators={"look": Evaluator(3, look)}), checkpoint_freq=0)
    assert seen[3][0] is not signal.SIG_DFL
    assert seen[4] == (signal.SIG_DFL, [4])
