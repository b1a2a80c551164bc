"""Configurations of config.data, and the digits prepared once for all tests."""

import types

import pytest

from score_sde import data


@pytest.fixture(scope="session")
def make_config():
    """config with config.data of the digits, and the given fields changed."""

    def make(**fields):
        digits = {
            "name": "digits", "data_dir": None, "image_size": 8, "num_channels": 1, "num_levels": 17,
            "in_memory": "auto",
        }  # fmt: skip
        return types.SimpleNamespace(data=types.SimpleNamespace(**{**digits, **fields}))

    return make


@pytest.fixture(scope="session")
def digits_config(make_config, tmp_path_factory):
    return make_config(data_dir=str(tmp_path_factory.mktemp("digits")))


@pytest.fixture(scope="session")
def digits(digits_config):
    return data.load(digits_config, ("label",))
