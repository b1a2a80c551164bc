"""Configurations of config.data, and the digits prepared once for all tests."""

import pytest
from ml_collections import ConfigDict

from score_sde import data
from score_sde.data.options import DataOptions


@pytest.fixture(scope="session")
def make_config():
    """config with config.data of the digits, and the given fields changed."""

    def make(**fields):
        options = DataOptions.defaults()
        options.update({"num_levels": 17, **fields})
        return ConfigDict({"data": options})

    return make


@pytest.fixture(scope="session")
def digits_config(make_config, tmp_path_factory):
    return make_config(data_dir=str(tmp_path_factory.mktemp("digits")))


@pytest.fixture(scope="session")
def digits(digits_config):
    return data.load(digits_config, ("label",))
