import numpy as np
import pytest
from tiny_run import GOLDEN, TINY, config_from_json

from score_sde.foreign_weights import checkpoint_file
from score_sde.models.networks import build_network


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
