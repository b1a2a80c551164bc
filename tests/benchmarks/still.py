"""A network with known results for any training: it predicts zero noise at first, and hardly learns."""

import flax.linen as nn

from benchmarks.digits_networks import prepared
from score_sde.configs.subvp_digits import get_config


class Still(nn.Module):
    """Says at first that there is no noise."""

    @classmethod
    def from_config(cls, config):
        return cls()

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        return nn.Dense(1, kernel_init=nn.initializers.zeros)(x)


def still():
    """A network that two updates do not move."""
    config = prepared(get_config(), 4, 20)
    config.model.name = "still"
    config.optim.lr = 1e-9
    config.training.batch_size = 8
    config.likelihood.batch_size = 4
    config.sampling.batch_size = 20
    config.evaluation.features = "pixels"
    return config
