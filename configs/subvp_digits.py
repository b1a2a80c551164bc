"""Sub-VP on 8x8 digits; see README.md for what it reaches and how long it takes."""

from configs.digits import digits_config


def get_config():
    config = digits_config("subvp")
    config.optim.decay_steps = config.training.n_iters
    return config
