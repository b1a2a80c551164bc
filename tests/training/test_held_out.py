"""The held-out loss: it uses the EMA weights and images without augmentation."""

import jax
import numpy as np
import pytest

from score_sde import data
from score_sde.devices import PmapDevices
from score_sde.keys import Stream, stream_key
from score_sde.models.networks import build_network
from score_sde.sde_lib import build_sde
from score_sde.training.checkpoints import restore_ema
from score_sde.training.held_out import HeldOutLoss
from score_sde.training.objective import build_objective
from score_sde.training.score_task import train
from score_sde.training.state import init_params


def test_there_is_no_dropout_and_no_mirroring(config):
    """The losses equal those of a config without either."""
    batch, key = data.load(config).test.take(range(8)), stream_key(0, Stream.HELD_OUT)
    losses = []
    for dropout, flip in ((0.3, True), (0.0, False)):
        config.model.dropout, config.data.random_flip = dropout, flip
        network = build_network(config)
        objective = build_objective(config, network, build_sde(config))
        u = np.linspace(0, 0.99, 8, dtype=np.float32)

        @jax.jit
        def held_out(network=network, objective=objective, u=u):
            return objective.held_out_losses(init_params(config, network), batch, u, key)

        losses.append(held_out())
    np.testing.assert_array_equal(*losses)


def test_the_recorded_loss_is_that_of_the_averaged_weights(config, tmp_path):
    config.training.n_iters = 3
    figures = train(config, tmp_path)
    network = build_network(config)
    objective = build_objective(config, network, build_sde(config))
    held_out = HeldOutLoss(config, objective, data.load(config).test, PmapDevices())
    template = jax.eval_shape(lambda: init_params(config, network))
    averaged, step = restore_ema(tmp_path, template)
    assert step == 3
    assert figures["eval_loss"] == held_out(averaged)
    first = jax.jit(lambda: init_params(config, network))()
    assert held_out(first) != pytest.approx(figures["eval_loss"], rel=1e-4)


def test_a_run_at_its_end_says_that_nothing_is_left(config, tmp_path, capsys):
    config.training.n_iters = 2
    train(config, tmp_path)
    assert "nothing to train" not in capsys.readouterr().err
    assert train(config, tmp_path)["loss"] is None
    assert "nothing to train: the folder is at step 2 of 2; increase" in capsys.readouterr().err


class Sum:
    """On its way from the devices, until it is waited for."""

    waiting = 0

    def __init__(self):
        Sum.waiting += 1
        assert Sum.waiting == 1

    def block_until_ready(self):
        Sum.waiting -= 1
        return self

    def __array__(self, dtype=None, copy=None):
        return np.ones((), np.float32)


def test_the_devices_of_a_cpu_run_one_program_at_a_time(config):
    """Two of MNIST's 125 batches at once used to deadlock on two cores: each waited for the other device's part of a sum."""
    config.training.batch_size = 8
    objective = build_objective(config, build_network(config), build_sde(config))
    split = data.load(config).test
    held_out = HeldOutLoss(config, objective, split, PmapDevices())
    held_out.total = lambda *_: Sum()
    batches = -(-split.num_images // 8)
    assert batches > 1
    assert held_out({}) == batches / split.num_images
    assert Sum.waiting == 0
