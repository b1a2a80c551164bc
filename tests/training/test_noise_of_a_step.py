"""Each step has its own noise: the same images give another loss at the next step, and the same loss at the same step."""

import jax

from score_sde import data
from score_sde.devices import PmapDevices
from score_sde.training.feed import stacked
from score_sde.training.score_task import build_score_task
from score_sde.training.state import first_state
from score_sde.training.step import build_train_step


def test_the_same_images_meet_other_noise_at_the_next_step(config):
    """With learning rate 0 nothing else changes between two steps."""
    config.optim.lr, config.model.dropout = 1e-30, 0.0  # moves no float32
    config.data.random_flip = False
    task, devices = build_score_task(config), PmapDevices((jax.devices()[0],))
    step = build_train_step(task, devices)
    given = devices.split(stacked([data.load(config).train.take(range(8))]))

    def two_losses():
        init = jax.jit(
            lambda: first_state(task.init(), task.optimizer), out_shardings=devices.replicated()
        )
        state, losses = init(), []
        for _ in range(2):
            state, metrics = step(state, (), None, given)
            losses.append(float(metrics["loss"][0]))
        return losses

    first, second = two_losses()
    assert first != second
    assert two_losses() == [first, second]
