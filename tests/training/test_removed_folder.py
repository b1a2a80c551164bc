"""A folder that is removed during a run: one line states what cannot be written, whichever file is next."""

import shutil

import pytest

from score_sde.errors import UserError
from score_sde.training.task import Evaluator
from tests.training.test_left_alone import Recorded, run


@pytest.mark.parametrize(
    "plan", [{"log_freq": 1}, {"log_freq": 100, "checkpoint_freq": 3}, {"log_freq": 100}]
)
def test_a_folder_that_is_removed_under_a_run_ends_it_in_a_line(tmp_path, plan):
    folder = tmp_path / "run"

    def remove(averaged, step):
        shutil.rmtree(folder)
        return {}

    task = Recorded(evaluators={"remove": Evaluator(2, remove)})
    with pytest.raises(
        UserError, match=f"cannot (write|be written to) ?{folder}|cannot be written to {folder}"
    ) as error:
        run(folder, 4, task, **{"checkpoint_freq": 0, **plan})
    assert len(str(error.value).splitlines()) == 1
