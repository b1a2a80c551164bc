"""A config for the data of two_pixels.py, and a flow small enough to train in a test."""

import pytest

from score_sde.configs.default import get_config
from score_sde.data.splits import ImagesInMemory
from tests.likelihood.dequantization.two_pixels import LEVELS, images_of


@pytest.fixture
def config():
    config = get_config()
    config.data.update(image_size=1, num_channels=2, num_levels=LEVELS)
    config.dequantizer.update(width=16, depth=2, batch_size=128, n_iters=150, lr=1e-2, repeats=1)
    return config


@pytest.fixture
def split():
    return ImagesInMemory(images_of(2048))
