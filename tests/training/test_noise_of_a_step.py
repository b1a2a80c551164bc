"""A step's noise is its own: the same images give another loss at the next step, and the same one at the same step."""

import jax
import numpy as np

from score_sde import data
from score_sde.devices import PmapDevices
from score_sde.models.networks import build_network
from score_sde.sde_lib import build_sde
from score_sde.training.objective import build_objective
from score_sde.training.optimizer import build_optimizer
from score_sde.training.state import init_state
from score_sde.training.step import build_train_step


def test_the_same_images_meet_other_noise_at_the_next_step(config):
    """With a rate of 0 nothing else changes between two steps."""
    config.optim.lr = config.model.dropout = 0.0
    config.data.random_flip = False
    network, optimizer, devices = (
        build_network(config),
        build_optimizer(config),
        PmapDevices((jax.devices()[0],)),
    )
    objective = build_objective(config, network, build_sde(config))
    step = build_train_step(config, objective, optimizer, devices)
    images = devices.split(data.load(config).train.images[:8, None])
    places = devices.split(np.arange(8, dtype=np.int32))

    def two_losses():
        init = jax.jit(
            lambda: init_state(config, network, optimizer), out_shardings=devices.replicated()
        )
        state, losses = init(), []
        for _ in range(2):
            state, metrics = step(state, None, images, places)
            losses.append(float(metrics["loss"][0]))
        return losses

    first, second = two_losses()
    assert first != second
    assert two_losses() == [first, second]
