"""Nonsensical command lines and files are each answered with a message. `python -m tests.hostile` tries more of them."""

import pytest

from tests.hostile.attack import Files, refused_badly
from tests.hostile.command_lines import command_line


@pytest.mark.parametrize("seed", range(3))
def test_a_command_line_is_answered(seed, tmp_path):
    assert refused_badly(command_line(seed, tmp_path / "run")) is None


@pytest.mark.slow
def test_many_command_lines_are_answered(tmp_path):
    wrong = {
        seed: refused_badly(command_line(seed, tmp_path / "run")) for seed in range(1000, 1060)
    }
    assert not {seed: words for seed, words in wrong.items() if words}


@pytest.mark.slow
def test_damaged_files_are_read_or_refused(tmp_path):
    files = Files(tmp_path)
    wrong = {seed: files.read_badly(seed) for seed in range(200)}
    assert not {seed: words for seed, words in wrong.items() if words}
