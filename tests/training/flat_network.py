"""A single dense layer on all pixels, whose score is linear, and folders with given weights for it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from score_sde.configs.default import get_config
from score_sde.training.checkpoints import Checkpoints
from score_sde.training.recorded_config import record_config
from score_sde.training.score_task import build_score_task
from score_sde.training.state import first_state

PIXELS = 4


class Flat(nn.Module):
    """y = x W + b of images as vectors, whatever the noise level."""

    @classmethod
    def from_config(cls, config):
        return cls()

    @nn.compact
    def __call__(self, x, noise_input, condition=(), dropout_keys=None):
        return nn.Dense(PIXELS)(x.reshape(len(x), PIXELS)).reshape(x.shape)


def flat_config():
    """Of toy images of four pixels, eight an update; NETWORKS must have Flat as "flat"."""
    config = get_config()
    config.model.update(name="flat", ema_rate=0.5, ema_warmup=False)
    config.data.update(name="mixture", image_size=2, num_levels=0)
    config.optim.update(warmup=0, lr=1e-2)
    config.training.update(
        batch_size=8, n_iters=3, log_freq=1, eval_freq=0, checkpoint_freq=0, snapshot_freq=0
    )
    return config


def random_weights(seed):
    """Of Flat, NumPy arrays."""
    rng = np.random.default_rng(seed)
    kernel, bias = rng.normal(size=(PIXELS, PIXELS)), rng.normal(size=PIXELS)
    return {"Dense_0": {"bias": np.float32(bias), "kernel": np.float32(kernel)}}


def write_folder(config, folder, params, step=7):
    """A run's folder with these weights as the average, and others as the parameters."""
    optimizer = build_score_task(config).optimizer
    state = first_state(jax.tree.map(lambda p: jnp.asarray(p) + 1, params), optimizer)
    averaged = jax.tree.map(jnp.asarray, params)
    state = state.replace(step=jnp.int32(step), ema_params=averaged)
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(step, state)
    record_config(config, folder, None)
    return folder
