"""The speed comparison with PyTorch on a CPU: that it runs, and what it refuses."""

import os

import jax
import pytest

from benchmarks import beside_pytorch
from benchmarks.turns import in_turns
from score_sde.errors import UserError


def test_without_pytorch_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(beside_pytorch.beside, "installed", lambda: False)
    with pytest.raises(UserError, match="pip install -e"):
        beside_pytorch.main([])


def test_blocks_are_timed_by_the_clock_that_is_given():
    """The clock here is advanced by two seconds per call of the work."""
    now = [0.0]

    def work(count):
        now[0] += 2.0 * count

    found = in_turns({"a": work}, block=4.0, rounds=3, clock=lambda: now[0])
    assert list(found["a"].seconds) == [2.0, 2.0, 2.0]


def test_a_run(capsys):
    pytest.importorskip("torch")
    beside_pytorch.main("--size tiny --batch 2 --rounds 1 --block 0.01".split())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:6]] == [
        "| training step",
        "| training step",
        "| evaluation",
        "| evaluation",
    ]


def test_on_two_cores_ours_is_timed_on_two_devices_and_on_one(capsys, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(beside_pytorch, "keep_processors", lambda count: None)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)  # here are four devices
    beside_pytorch.main("--size tiny --batch 2 --rounds 1 --block 0.01 --cores 2".split())
    who = [line.split(" | ")[2] for line in capsys.readouterr().out.splitlines()[2:8]]
    assert who == 2 * ["ours", "ours, one device", "PyTorch"]


def test_so_many_processors_are_used(monkeypatch):
    """Processors are taken from those the process may use; asking for more is refused."""
    used = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 7}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, to: used.extend(to), raising=False)
    beside_pytorch.keep_processors(2)
    assert used == [1, 5]
    with pytest.raises(UserError, match="--cores=4: this process may use 3"):
        beside_pytorch.keep_processors(4)


@pytest.mark.parametrize("cores", ["0", "3"])
def test_cores_that_cannot_share_the_batch_are_refused(cores, monkeypatch):
    monkeypatch.setattr(beside_pytorch.beside, "installed", lambda: True)
    with pytest.raises(UserError, match=f"--cores={cores}: expected 1 or more, of which --batch=8"):
        beside_pytorch.main(["--cores", cores])
