"""The sampler that draws the pictures during training."""

import jax
import numpy as np
import pytest

from score_sde.configs.vp_digits import get_config
from score_sde.errors import ConfigError
from score_sde.modes import drawn_in_training, train
from score_sde.modes.drawn_in_training import drawn_config
from score_sde.sde_lib import build_sde
from score_sde.training.trained_score import score_models


def test_few_steps_of_unipc_from_noise_whatever_sampling_is_set_to():
    config = get_config()
    config.sampling.update(sampler="edm", t_start=0.5, start_images="test", threshold="static")
    config.sampling.grid.name = "dp"
    config.sampling.exponential.eta = 1.0
    config.training.snapshot_steps = 0
    sde = build_sde(config)
    with pytest.raises(ConfigError):
        train.check(config, sde)
    config.training.snapshot_steps = 7
    ((configured, _),) = train.check(config, sde)
    assert (configured.sampler.method, configured.sampler.eta) == ("unipc_3", 0.0)
    assert len(configured.grid) == 7 + 1
    assert configured.grid[0] == sde.T
    drawn = drawn_config(config, 7)
    assert (drawn.sampling.threshold, drawn.seed) == ("static", config.seed)
    assert config.sampling.sampler == "edm"


def test_the_sampler_of_the_config_unless_asked_for():
    config = get_config()
    assert drawn_config(config, 0) is config


def test_a_picture_is_known_to_be_kept(tmp_path, monkeypatch):
    """By which a run that goes on knows that a signal kept it from one."""
    images = np.zeros((4, 8, 8, 1), np.float32)
    monkeypatch.setattr(drawn_in_training, "drawing", lambda *_: lambda *_: images)
    pictures = drawn_in_training.pictures_of(config := get_config(), build_sde(config), tmp_path)
    assert not pictures.drawn(2)
    assert [*pictures.draw({}, 2)] == ["samples"]
    assert pictures.drawn(2)
    assert not pictures.drawn(4)


def test_a_later_picture_has_the_same_program():
    """Models with other parameters have the same tree structure, so a jitted sampler is not retraced."""
    config = get_config()
    with_params = score_models(config, build_sde(config))
    first, second = (jax.tree.structure(with_params({"w": w})) for w in (0.0, 1.0))
    assert first == second
