"""A network small enough to train for a few steps in a test."""

import flax.linen as nn
import jax
import jax.numpy as jnp


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
