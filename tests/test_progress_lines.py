"""Progress without a terminal: complete lines, one every ten seconds."""

import re

import pytest

from score_sde import progress
from score_sde.training import progress as training_progress
from score_sde.training.progress import Progress


@pytest.mark.parametrize("every", [10.0, 0.0])
def test_a_bar_is_lines(capsys, monkeypatch, every):
    monkeypatch.setattr(progress, "LINE_EVERY", every)
    with progress.progress_bar(40, "sampling", "image") as bar:
        for _ in range(40):
            bar.update(1)
    text = capsys.readouterr().err
    assert "\r" not in text
    shares = [int(n) for n in re.findall(r"^sampling: +\d+% (\d+)/40 image \[.*\]$", text, re.M)]
    assert len(shares) == len(text.splitlines())
    assert shares == ([0, 40] if every else list(range(41)))


def test_training_says_when_it_compiles_and_a_line_in_ten_seconds(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(training_progress.time, "perf_counter", lambda: now[0])
    with Progress(0, 40, 8) as shown:
        for step in range(1, 41):
            with shown.compiling():
                now[0] += 1.0 if step > 1 else 30.0
            shown.finished(step)
            if step % 2 == 0:
                shown.show(loss=step)
    assert capsys.readouterr().err.splitlines() == [
        "compiling the update ...",
        "compiled in 30.0 s",
        "step 2/40  loss 2  8 images/s  00:38 left",
        "step 12/40  loss 10  8 images/s  00:28 left",
        "step 22/40  loss 20  8 images/s  00:18 left",
        "step 32/40  loss 30  8 images/s  00:08 left",
        "step 40/40  loss 40  8 images/s  00:00 left",
    ]
