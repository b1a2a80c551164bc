"""The tiny network of the recorded training run, and its checkpoint as the published code wrote it."""

import json
from pathlib import Path

import numpy as np
import pytest

from configs.default import get_config
from models.networks import build_network
from published import checkpoint_file

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = GOLDEN / "tiny_checkpoint.pth"


def config_from_json(text):
    """Our defaults with what the published config sets."""
    config = get_config()
    for section, fields in json.loads(text).items():
        known = {name: value for name, value in fields.items() if name in config[section]}
        config[section].update(
            {name: type(config[section][name])(value) for name, value in known.items()}
        )
    config.sde.name = json.loads(text)["training"]["sde"].removesuffix("sde")
    return config


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


def assert_trees_equal(a, b):
    flat_a, flat_b = (dict(flatten(tree)) for tree in (a, b))
    assert flat_a.keys() == flat_b.keys()
    for name, leaf in flat_a.items():
        assert leaf.dtype == flat_b[name].dtype
        np.testing.assert_array_equal(leaf, flat_b[name], err_msg=name)


def flatten(tree, path=()):
    if not isinstance(tree, dict):
        yield path, np.asarray(tree)
        return
    for name, value in tree.items():
        yield from flatten(value, (*path, name))
