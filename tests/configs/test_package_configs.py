"""Configurations for images from packages: their networks, that every mode accepts them, and sizes for MNIST without a border."""

import math

import jax
import pytest

from score_sde.configs import subvp_mnist, subvp_patches
from score_sde.errors import UserError
from score_sde.models.networks import build_network
from score_sde.modes import classify, evaluate, likelihood, restore, sample, train
from score_sde.sde_lib import build_sde
from score_sde.training.state import init_params


def shapes_of(config):
    network = build_network(config)
    return jax.eval_shape(lambda: init_params(config, network))


@pytest.mark.parametrize(
    ("config", "parameters", "modes"),
    [
        (subvp_mnist.get_config(), 670_705, (train, sample, likelihood, classify, evaluate)),
        (subvp_patches.get_config(), 1_097_187, (train, sample, likelihood, restore, evaluate)),
    ],
    ids=["mnist", "patches"],
)
def test_the_network_has_the_parameters_that_are_stated_and_every_mode_takes_it(
    config, parameters, modes, monkeypatch
):
    shapes = shapes_of(config)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == parameters
    monkeypatch.setattr("score_sde.training.trained_score.init_params", lambda config, network: ())
    for mode in modes:
        mode.check(config, build_sde(config))


def test_it_goes_without_the_border_with_attention_at_the_sizes_there_are_then():
    config = subvp_mnist.get_config()
    config.data.update(pad=0, image_size=28)
    with pytest.raises(UserError, match=r"attn_resolutions"):
        shapes_of(config)
    config.model.attn_resolutions = (7,)
    shapes = shapes_of(config)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == 670_705
