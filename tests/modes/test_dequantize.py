"""--mode dequantize from end to end, with a score in closed form in place of a network."""

import json

import numpy as np
import pytest

from score_sde import data
from score_sde.configs.default import get_config
from score_sde.data.splits import Datasets, ImagesInMemory
from score_sde.errors import ConfigError
from score_sde.likelihood.dequantization.comparison import Comparison
from score_sde.likelihood.dequantization.trained import load_dequantizer
from score_sde.modes import dequantize
from score_sde.sde_lib import build_sde
from score_sde.training.trained_score import LoadedScore
from tests.likelihood.dequantization.two_pixels import gaussian_score, images_of


@pytest.fixture
def config(monkeypatch):
    loaded = LoadedScore(gaussian_score(), 7)
    monkeypatch.setattr(dequantize, "load_score_model", lambda *_: loaded)
    train, test = (ImagesInMemory(images_of(number, seed=number)) for number in (64, 10))
    monkeypatch.setattr(data, "load", lambda *_, **__: Datasets("two pixels", train, test, 4))
    config = get_config()
    config.data.update(image_size=1, num_channels=2, num_levels=4)
    config.dequantizer.update(width=4, depth=2, batch_size=8, n_iters=3, repeats=2, lr=1e-9)
    return config


def test_it_trains_compares_and_keeps_the_flow(config, tmp_path):
    figures = dequantize.run(config, build_sde(config), tmp_path)
    assert (figures["step"], figures["checkpoint_step"], figures["num_images"]) == (3, 7, 10)
    # Updates of 1e-9 leave the flow uniform: nothing is gained, draw by draw.
    assert abs(figures["gain"]) < 1e-5
    assert figures["uniform_bound"] == pytest.approx(figures["variational_bound"], abs=1e-5)
    (line,) = (tmp_path / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["gain_standard_error"] < 1e-5
    config.likelihood.dequantization = "variational"
    loaded = LoadedScore(gaussian_score(), 7)
    assert load_dequantizer(config, tmp_path, loaded).flow.width == 4


def test_the_gain_is_what_the_learnt_bound_is_lower_by(config, tmp_path, monkeypatch):
    """Of two images: 2 and 4 bits/dim by uniform noise, 1 and 1 by the learnt; gains of 1 and 3, a mean of 2 with the error 1."""
    bounds = Comparison(np.array([2.0, 4.0]), np.array([1.0, 1.0]))
    monkeypatch.setattr(dequantize, "compare", lambda *_: bounds)
    figures = dequantize.run(config, build_sde(config), tmp_path)
    names = ("uniform_bound", "variational_bound", "gain", "gain_standard_error", "num_images")
    assert [figures[name] for name in names] == pytest.approx([3.0, 1.0, 2.0, 1.0, 2])


def test_an_unconditional_bound_needs_a_network_that_learned_it(config):
    config.model.update(name="dit", num_classes=2, patch_size=1, width=8, depth=1, num_heads=2)
    config.likelihood.conditional = False
    config.training.label_dropout = 0.0
    with pytest.raises(ConfigError, match="likelihood.conditional=False needs the unconditional"):
        dequantize.check(config, build_sde(config))
    config.training.label_dropout = 0.1
    dequantize.check(config, build_sde(config))
