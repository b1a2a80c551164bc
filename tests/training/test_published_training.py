"""Short training runs of the published code, replayed update by update with its images, times and noise.

Golden files (`train_*_tiny.npz`): score_sde_pytorch, commit cb1f359: Adam with warmup, clipping at norm 1 and an
EMA of the weights, from stored initial weights, without dropout. Images there are (b, c, h, w).

The update is that of training/step.py; a stand-in for the loss unpacks the recorded draws, which each "image"
carries in further channels.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from score_sde.configs.default import get_config
from score_sde.data.batch import Batch
from score_sde.devices import PmapDevices
from score_sde.foreign_weights.names import from_tree, to_tree
from score_sde.foreign_weights.names import parameters as published_parameters
from score_sde.models.networks import build_network, network_score
from score_sde.sde_lib import build_sde
from score_sde.training.feed import stacked
from score_sde.training.objective import build_objective
from score_sde.training.optimizer import build_optimizer
from score_sde.training.score_task import ScoreTask
from score_sde.training.state import first_state
from score_sde.training.step import build_train_step

GOLDEN = Path(__file__).parents[1] / "golden"


def nhwc(x):
    return np.moveaxis(x, -3, -1)


class RecordedTask(ScoreTask):
    """Images (b, h, w, 7): the image, its noise, and its u in every pixel of the last channel."""

    def losses(self, params, averaged, constants, step, batch):
        x0, z, u = batch.images[..., :3], batch.images[..., 3:6], batch.images[:, 0, 0, 6]
        model = network_score(self.network, params, self.objective.parameterization)
        return self.objective.loss(model, x0, u, z)


def load(name):
    with np.load(GOLDEN / f"train_{name}_tiny.npz") as file:
        golden = dict(file)
    published = json.loads(str(golden["config_json"]))
    config = get_config()
    config.sde.name = name
    for section in ("model", "data", "training", "optim"):
        known = {k: v for k, v in published[section].items() if k in config[section]}
        config[section].update(known)
    config.model.fourier_scale = 16.0
    return config, golden


def as_params(parameters, golden, prefix):
    names = {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}
    return to_tree(parameters, names)


@pytest.mark.parametrize("name", ["vp", pytest.param("ve", marks=pytest.mark.slow)])
def test_every_update_of_the_recorded_run(name):
    config, golden = load(name)
    network, optimizer, sde = build_network(config), build_optimizer(config), build_sde(config)
    task = RecordedTask(config, network, build_objective(config, network, sde), optimizer)
    devices = PmapDevices((jax.devices()[0],))
    step = build_train_step(task, devices)
    parameters = published_parameters(network)
    params = as_params(parameters, golden, "init/")
    # Where the loop has it, so that the first update compiles what all others are.
    first = jax.jit(
        lambda params: first_state(params, optimizer), out_shardings=devices.replicated()
    )
    state = first(params)
    places = np.arange(4, dtype=np.int32)
    for k, batch in enumerate(golden["batch"]):
        u = np.broadcast_to(golden["u"][k][:, None, None, None], (4, 8, 8, 1))
        images = np.concatenate([nhwc(batch), nhwc(golden["z"][k]), u], axis=-1)
        given = devices.split(stacked([Batch(images, (), places)]))
        state, metrics = step(state, (), None, given)
        assert float(metrics["learning_rate"][0]) == pytest.approx(golden["lr"][k], rel=1e-6)
        assert float(metrics["loss"][0]) == pytest.approx(golden["loss"][k], rel=3e-6), k
        assert float(metrics["grad_norm"][0]) == pytest.approx(golden["grad_norm"][k], rel=1e-5), k

    # In units of how far a parameter moved: measured, up to 2e-4 of it. Adam turns the rounding noise of a
    # gradient that is zero in truth into steps of full size; those parameters, of which the published float32
    # run is itself more than 2 % of the way from its float64 one, are left out.
    moved = dict(zip(map(str, golden["param_names"]), golden["final_move_f64"], strict=True))
    noise = dict(zip(map(str, golden["param_names"]), golden["final_dev_f64"], strict=True))
    compared = 0
    for prefix, tree in (("final/", state.params), ("final_ema/", state.ema_params)):
        for leaf, got in from_tree(parameters, tree).items():
            if prefix + leaf not in golden or noise[leaf] > 0.02 * moved[leaf]:
                continue
            error = np.abs(got - golden[prefix + leaf]).max()
            assert error <= 1e-3 * moved[leaf], (prefix, leaf)
            compared += 1
    assert compared >= 2 * (len(flatten_dict(params)) - 5)
