"""Training folders of networks with random weights, made without training."""

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.models.networks import build_network
from score_sde.training.checkpoints import Checkpoints
from score_sde.training.optimizer import build_optimizer
from score_sde.training.recorded_config import record_config
from score_sde.training.state import first_state, init_params


def random_weights(shapes, seed):
    """Like those of a trained network: every layer counts."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: jnp.asarray(0.2 * rng.standard_normal(p.shape), p.dtype), shapes)


def saved(folder, config, steps=(1, 2)):
    """The folder of a score network, with a checkpoint of each step, whose weights are its own."""
    return saved_state(folder, config, lambda: init_params(config, build_network(config)), steps)


def saved_state(folder, config, init, steps):
    """The same of any parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    record_config(config, folder, None)
    shapes = jax.eval_shape(init)
    with Checkpoints(folder, 0) as checkpoints:
        for step in steps:
            state = first_state(random_weights(shapes, step), build_optimizer(config))
            checkpoints.save(step, state.replace(step=jnp.asarray(step, jnp.int32)))
    return folder
