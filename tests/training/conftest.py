"""A network and a config small enough for a few training steps in a test."""

import pytest

from score_sde.models.networks import NETWORKS
from tests.training.stub_network import StubNetwork, stub_config


@pytest.fixture
def config(monkeypatch):
    """stub_config, whose network has its name for one test."""
    monkeypatch.setitem(NETWORKS, "stub", StubNetwork)
    return stub_config()
