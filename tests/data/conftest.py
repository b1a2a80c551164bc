"""Configurations of datasets, and the digits prepared once for all tests."""

import pytest
from ml_collections import ConfigDict

from score_sde import data
from score_sde.data.options import DataOptions
from tests.data.picture_folder import COLOURS, save


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


@pytest.fixture
def folder(tmp_path):
    """Forty files of 8x8 pixels over three depths and two suffixes, file i of colour (i, 2 i, 255 - i)."""
    for i in range(COLOURS):
        save(tmp_path / ["", "a", "b/c"][i % 3] / f"{i:02d}{['.png', '.PNG'][i % 2]}", i)
    return tmp_path


@pytest.fixture
def folder_config(make_config):
    def make(folder, **fields):
        common = {"name": "folder", "folder": str(folder), "num_channels": 3, "num_levels": 256}
        return make_config(**{**common, **fields})

    return make
