"""Fields that differ from those of the training are in every record, if figures depend on them."""

import pytest

from score_sde.modes.list_runs import read_run
from score_sde.results import report
from score_sde.sde_lib import build_sde
from score_sde.training import trained_score
from score_sde.training.changed_since import changed_since_training
from score_sde.training.recorded_config import record_config
from score_sde.training.trained_score import load_score_model

DEPEND = {"model.control_scale": 0.5, "model.discrete_labels": "published_pc", "data.label": 3, "condition.noise": 0.5}  # fmt: skip
DO_NOT = {"model.dropout": 0.5, "data.folder": "/elsewhere", "data.in_memory": "no", "optim.lr": 1.0, "sampling.snr": 0.5, "seed": 9}  # fmt: skip


@pytest.mark.parametrize("field", DEPEND | DO_NOT)
def test_a_change_is_recorded_if_figures_depend_on_it(config, tmp_path, field):
    record_config(config, tmp_path, None)
    assert changed_since_training(config, tmp_path) == {}
    config.update_from_flattened_dict({field: (DEPEND | DO_NOT)[field]})
    assert changed_since_training(config, tmp_path) == ({field: DEPEND[field]} if field in DEPEND else {})  # fmt: skip
    assert changed_since_training(config, tmp_path / "none") == {}


def test_loaded_weights_have_the_changes_in_their_record(config, tmp_path, monkeypatch):
    record_config(config, tmp_path, None)
    monkeypatch.setattr(trained_score, "averaged_params", lambda config, folder, like: (like, 7))
    config.data.label = 3
    loaded = load_score_model(config, build_sde(config), tmp_path)
    assert loaded.recorded == {"checkpoint_step": 7, "data.label": 3}


def test_bits_of_one_class_are_not_those_of_the_run(tmp_path):
    """In the list of runs, the last likelihood and quality of all images."""
    figures = {
        "likelihood": {"ode_bits_per_dim": 1.5, "ode_standard_error": 0.25},
        "evaluate": {"frechet": 2.5, "frechet_error": 0.5, "features": "pixels"},
    }
    for mode, of in figures.items():
        report(tmp_path, {"mode": mode, **of})
        report(tmp_path, {"mode": mode, **dict.fromkeys(of, 9.0), "data.label": 3})
    run = read_run(tmp_path)
    assert (run.bits_per_dim, run.frechet) == ((1.5, 0.25), (2.5, 0.5))
