import functools
from unittest import mock

import jax
import numpy as np
import pytest
from tiny_run import GOLDEN, TINY, config_from_json

from score_sde.data.image_shape import image_shape
from score_sde.foreign_weights import checkpoint_file, names
from score_sde.models.networks import build_network
from score_sde.training import trained_score
from score_sde.training.state import init_params


@pytest.fixture(scope="module", autouse=True)
def _networks_traced_once():
    """Shapes and names of a network are traced once, not for every file that is read: that was nearly all the time of these tests."""
    known = {}

    def remembered(config, network):
        key = network, image_shape(config.data)
        if key not in known:
            known[key] = jax.eval_shape(lambda: init_params(config, network))
        return jax.tree.map(lambda s: np.broadcast_to(np.zeros((), s.dtype), s.shape), known[key])

    with (
        mock.patch.object(checkpoint_file, "init_params", remembered),
        mock.patch.object(trained_score, "init_params", remembered),
        mock.patch.object(names, "_called_modules", functools.cache(names._called_modules)),
    ):
        yield


@pytest.fixture(scope="session")
def run():
    """The recorded training run whose state after six updates is the checkpoint."""
    with np.load(GOLDEN / "train_ve_tiny.npz") as file:
        return dict(file)


@pytest.fixture
def config(run):
    return config_from_json(str(run["config_json"]))


@pytest.fixture
def network(config):
    return build_network(config)


@pytest.fixture
def record(config):
    return checkpoint_file.read(TINY, config)
