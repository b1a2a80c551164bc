"""A short run of `python -m tests.endurance`."""

import pytest

from tests.endurance import endure


@pytest.mark.slow
def test_disturbed_runs_end_with_the_arrays_of_one_that_nobody_disturbed():
    assert endure({"kills": 2, "signals": 2, "damages": 3, "disks": 2}, seed=1) == []
