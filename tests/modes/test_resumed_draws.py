"""Which samples and draws an interrupted command may resume: those of the same weights, mask and settings."""

import os

import numpy as np
import pytest

from score_sde.configs.default import get_config
from score_sde.modes import restore, sample
from score_sde.restoration.observed import Observed
from score_sde.training.trained_score import LoadedScore


def of_samples(config, workdir):
    return sample.identity(config, workdir, LoadedScore(None, 6))


def of_draws(config, workdir):
    observed = Observed(np.ones((2, 3), np.float32))
    return restore.identity(config, workdir, LoadedScore(None, 6), observed)


MODES = pytest.mark.parametrize("identity", [of_samples, of_draws])


@MODES
@pytest.mark.parametrize("file", ["checkpoints/weights", "averages/6.npz", "lora.npz", "mask.png"])
def test_files_written_anew_are_others(tmp_path, identity, file):
    """By a training to the same step, of an adapter, and in a picture of known pixels, on which only draws depend."""
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("old")
    config = get_config()
    if file == "lora.npz":
        config.adapters = str(path)
    if file == "mask.png":
        config.restore.measurement.update(name="mask", mask=str(path))
    before = identity(config, tmp_path)
    assert identity(config, tmp_path) == before
    os.utime(path, (1, 10**10))
    depends = identity is of_draws or file != "mask.png"
    assert (identity(config, tmp_path) != before) == depends


@MODES
@pytest.mark.parametrize(
    "field", ["seed", "data.label", "model.beta_max", "condition.noise", "sampling.eps"]
)
def test_other_settings_draw_others(tmp_path, identity, field):
    config = get_config()
    before = identity(config, tmp_path)
    config.update_from_flattened_dict({field: 3})
    assert identity(config, tmp_path) != before
