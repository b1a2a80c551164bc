"""Speed beside PyTorch on a CPU: that it runs, and what it refuses."""

import pytest

from benchmarks import beside_pytorch
from benchmarks.turns import in_turns
from score_sde.errors import UserError


def test_without_pytorch_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(beside_pytorch.beside, "installed", lambda: False)
    with pytest.raises(UserError, match="pip install -e"):
        beside_pytorch.main([])


def test_blocks_are_timed_by_the_clock_that_is_given():
    """One that a work sets on by two seconds."""
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
