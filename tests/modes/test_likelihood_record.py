"""What a likelihood's record says, and which measurements an interrupted one may be taken up by."""

import os

import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.likelihood.bits_per_dim import BitsPerDim, Measured
from score_sde.modes.likelihood import described, identity
from score_sde.training.trained_score import LoadedScore


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


def test_the_record_counts_the_images_that_were_measured():
    """likelihood.num_images=0 asks for all of them."""
    config, values = get_config(), np.zeros((2, 7))
    assert config.likelihood.num_images == 0
    measured = BitsPerDim(Measured(values, values, values), None, None, 1.5)
    record = described(config, LoadedScore(None, 6), measured)
    assert (record["num_images"], record["repeats"], record["seconds"]) == (7, 1, 1.5)
