"""No field of a config is ignored: another value of each changes what is built."""

from pathlib import Path
from unittest import mock

import pytest

from score_sde.configs.default import check_options, get_config
from score_sde.models.networks import NETWORKS
from score_sde.options import value_of
from tests.configs import built
from tests.configs.rows_of_training import TRAINING_ROWS
from tests.configs.rows_of_use import MEASUREMENT_ROWS, RESTORING_ROWS, SAMPLING_ROWS, SEED_ROWS
from tests.configs.test_default import leaves

ROWS = [*TRAINING_ROWS, *SAMPLING_ROWS, *MEASUREMENT_ROWS, *RESTORING_ROWS, *SEED_ROWS]
# Fields that rows see handed to the training loop and no further, and the test that fails where the loop ignores them.
USED_BY_THE_LOOP = {
    "training.n_iters": "test_loop.py::test_a_resumed_run_is_the_run_without_a_stop",
    "training.eval_freq": "test_loop.py::test_a_resumed_run_is_the_run_without_a_stop",
    "training.checkpoint_freq": "test_loop.py::test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint",
    "training.steps_per_call": "test_loop.py::test_several_steps_a_call_go_through_the_loop",
    "training.log_freq": "test_left_alone.py::test_a_loss_says_of_how_many_updates_it_is_the_mean",
    "training.skip_nonfinite": "test_left_alone.py::test_updates_that_are_not_finite_can_be_left_out",
    "training.keep_checkpoints": "test_checkpoints.py::test_the_latest_so_many_are_kept",
    "training.keep_every": "test_checkpoints.py::test_every_so_many_steps_one_is_kept_for_ever",
    "training.keep_best": "test_staying.py::test_a_run_keeps_its_best_also_when_it_is_resumed",
    "training.keep_best_by": "test_staying.py::test_the_best_is_of_the_figure_that_is_named",
    "training.ema.save_freq": "test_kept_averages.py::test_averages_are_those_of_the_definition",
    "checkpoint_step": "test_earlier_step.py::test_the_steps_come_again_and_the_earlier_ones_stay_beside",
    "training.init_from": "test_start.py::test_the_newest_checkpoint_then_other_weights_then_scratch",
    "training.replay_step": "test_replay.py::test_losses_and_gradient_of_an_update",
}
# Gradients of whole networks, which take seconds to trace, and the file whose fast tests would notice that the field is ignored.
SLOW = {
    "training.learned_uncertainty": "test_edm2_training.py",
    "training.augment": "test_augmentation.py",
    "training.lora.rank": "test_low_rank_task.py",
    "training.lora.targets": "test_low_rank_task.py",
}
BUILT = {}
"""What the contexts give, each made once."""


@pytest.fixture(autouse=True, scope="module")
def _linear_network():
    with mock.patch.dict(NETWORKS, linear=built.Linear):
        yield
    BUILT.clear()


def config_of(fields):
    config = get_config()
    config.update_from_flattened_dict(fields)
    check_options(config)
    return config


def without_change(row):
    key = row.probe, repr(row.context)
    if key not in BUILT:
        BUILT[key] = row.probe(config_of(row.context))
    return BUILT[key]


def test_every_field_has_a_row():
    fields = set(leaves(get_config()))
    missing, gone = fields - {row.field for row in ROWS}, {row.field for row in ROWS} - fields
    assert not missing, (
        f"{sorted(missing)}: add to tests/configs/rows_of_*.py what another value changes"
    )
    assert not gone, f"{sorted(gone)}: no such fields; remove their rows"


def is_slow(row):
    """Also of fields of networks other than the default: that each is read, tests/models/test_networks.py says of all networks."""
    other_network = row.probe.__name__ == "network" and "model.name" in row.context
    return row.field in SLOW or other_network


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            row,
            marks=pytest.mark.slow if is_slow(row) else (),
            id=f"{row.field}-{row.probe.__name__}",
        )
        for row in ROWS
    ],
)
def test_another_value_changes_what_is_built(row):
    before = config_of(row.context)
    after = config_of({**row.context, row.field: row.value})
    assert value_of(before, row.field) != value_of(after, row.field)
    assert row.probe(after) != without_change(row), (
        f"{row.field}={row.value} gives the same as {value_of(before, row.field)} in {row.probe.__name__}"
    )


@pytest.mark.parametrize(
    "probe", {row.probe: row for row in ROWS}.values(), ids=lambda row: row.probe.__name__
)
def test_the_same_values_build_the_same(probe):
    """Otherwise a difference would mean nothing."""
    assert probe.probe(config_of(probe.context)) == without_change(probe)


@pytest.mark.parametrize("test", sorted({*USED_BY_THE_LOOP.values()}))
def test_what_sees_the_loop_use_a_field_is_there(test):
    file, _, name = test.partition("::")
    assert f"def {name}(" in (Path(__file__).parents[1] / "training" / file).read_text()
