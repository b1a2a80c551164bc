"""A network and a config small enough to train for a few steps in a test."""

import pytest

from score_sde.configs.default import get_config
from score_sde.models.networks import NETWORKS
from tests.training.stub_network import StubNetwork


@pytest.fixture
def config(monkeypatch):
    """Four-by-four toy images, the stub network, batches of eight; everything else as in the default."""
    monkeypatch.setitem(NETWORKS, "stub", StubNetwork)
    config = get_config()
    config.model.update(name="stub", nf=8, dropout=0.3, ema_rate=0.9)
    config.data.update(name="mixture", image_size=4, num_levels=0, random_flip=True)
    config.optim.update(warmup=2, lr=1e-2)
    config.training.update(
        batch_size=8, n_iters=6, log_freq=2, eval_freq=3, checkpoint_freq=3, snapshot_freq=0
    )
    return config
