"""Progress and timings, with a clock that the test controls."""

import pytest

from score_sde.training import progress
from score_sde.training.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def test_the_parts_are_the_time_that_has_passed(clock):
    with Progress(0, 10, batch_size=8) as run:
        clock[0] += 5  # the first update, and its compilation
        with run.taking("data"):
            clock[0] += 1
        run.finished(1)
        with run.taking("save"):
            clock[0] += 2
        assert run.seconds_since() == {
            "seconds_step": 5, "seconds_data": 1, "seconds_save": 2, "seconds_evaluation": 0,
        }  # fmt: skip
        clock[0] += 4
        with run.taking("evaluation"):
            clock[0] += 3
        with run.taking("data"):
            clock[0] += 1
        run.finished(3)
        assert run.seconds_since() == {
            "seconds_step": 4, "seconds_data": 1, "seconds_save": 0, "seconds_evaluation": 3,
        }  # fmt: skip
        assert run.seconds_of_all() == {
            "seconds_step": 9, "seconds_data": 2, "seconds_save": 2, "seconds_evaluation": 3,
        }  # fmt: skip
        # Two updates since the first, of eight images each, in four seconds and one for the data.
        assert run.images_per_second == 2 * 8 / 5


def test_an_evaluation_before_the_first_update_does_not_count_in_its_rate(clock):
    """An evaluation prevented by a signal is made when the run resumes."""
    with Progress(4, 10, batch_size=8) as run:
        with run.taking("evaluation"):
            clock[0] += 120
        clock[0] += 5
        run.finished(5)
        clock[0] += 2
        with run.taking("save"):
            clock[0] += 1
        run.finished(6)
        assert run.images_per_second == 8 / 2
