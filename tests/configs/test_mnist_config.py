"""The configuration of MNIST's digits: its network, that every mode takes it, and with which sizes it goes without a border."""

import math

import jax
import pytest

from score_sde.configs.subvp_mnist import get_config
from score_sde.errors import UserError
from score_sde.models.networks import build_network
from score_sde.modes import classify, evaluate, likelihood, sample, train
from score_sde.sde_lib import build_sde
from score_sde.training.state import init_params


def shapes_of(config):
    network = build_network(config)
    return jax.eval_shape(lambda: init_params(config, network))


def test_the_network_has_the_parameters_that_are_stated_and_every_mode_takes_it(monkeypatch):
    config = get_config()
    shapes = shapes_of(config)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == 670_705
    monkeypatch.setattr("score_sde.training.trained_score.init_params", lambda config, network: ())
    for mode in (train, sample, likelihood, classify, evaluate):
        mode.check(config, build_sde(config))


def test_it_goes_without_the_border_with_attention_at_the_sizes_there_are_then():
    config = get_config()
    config.data.update(pad=0, image_size=28)
    with pytest.raises(UserError, match=r"attn_resolutions"):
        shapes_of(config)
    config.model.attn_resolutions = (7,)
    shapes = shapes_of(config)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == 670_705
