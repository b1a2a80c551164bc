"""Which measurements an interrupted one may be taken up by."""

import os

import pytest

from configs.default import get_config
from modes.likelihood import identity
from modes.score_model import LoadedScore


@pytest.mark.parametrize("folder", ["checkpoints", "dequantizer/step6"])
def test_weights_trained_again_to_the_same_step_are_others(tmp_path, folder):
    file = tmp_path / folder / "weights"
    file.parent.mkdir(parents=True)
    file.write_text("old")
    config, loaded = get_config(), LoadedScore(None, 6)
    before = identity(config, tmp_path, loaded, "split")
    assert identity(config, tmp_path, loaded, "split") == before
    os.utime(file, (1, 10**10))
    assert identity(config, tmp_path, loaded, "split") != before


@pytest.mark.parametrize("field", ["likelihood.rtol", "seed", "data.label", "model.beta_max"])
def test_another_setting_is_another_measurement(tmp_path, field):
    config, loaded = get_config(), LoadedScore(None, 6)
    before = identity(config, tmp_path, loaded, "split")
    config.update_from_flattened_dict({field: 3})
    assert identity(config, tmp_path, loaded, "split") != before
