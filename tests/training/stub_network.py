"""A network small enough for a few training steps in a test, and a config for it."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from score_sde.configs.default import get_config


class StubNetwork(nn.Module):
    """Two layers with dropout between them, and the interface of the real networks."""

    channels: int
    features: int
    rate: float

    @classmethod
    def from_config(cls, config):
        return cls(config.data.num_channels, config.model.nf, config.model.dropout)

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        time = nn.Dense(self.features)(jnp.log1p(noise_input)[:, None])
        h = nn.swish(nn.Dense(self.features)(x) + time[:, None, None])
        if dropout_keys is not None:
            keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - self.rate, h.shape[1:]))
            h = jnp.where(keep(dropout_keys), h / (1 - self.rate), 0)
        return nn.Dense(self.channels)(h)


def stub_config():
    """Four-by-four toy images, batches of eight; everything else as in the default. NETWORKS must have StubNetwork as "stub"."""
    config = get_config()
    config.model.update(name="stub", nf=8, dropout=0.3, ema_rate=0.9)
    config.data.update(name="mixture", image_size=4, num_levels=0, random_flip=True)
    config.optim.update(warmup=2, lr=1e-2)
    config.training.update(
        batch_size=8, n_iters=6, log_freq=2, eval_freq=3, checkpoint_freq=3, snapshot_freq=0
    )
    return config
