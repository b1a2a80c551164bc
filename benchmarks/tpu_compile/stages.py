"""The stages: compile the programs of the modes from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.data.batch import Batch
from score_sde.data.digits import NUM_TRAIN
from score_sde.data.image_shape import image_shape
from score_sde.devices import Devices
from score_sde.generation.conditions import build_conditions
from score_sde.generation.drivers import batch_sampler
from score_sde.keys import seed_key
from score_sde.likelihood.bits_per_dim import build_compiled
from score_sde.likelihood.dequantization.dequantizer import UniformDequantizer
from score_sde.models.networks import build_network, conditions_of, network_score
from score_sde.models.parameterization import build_parameterization
from score_sde.modes import likelihood, sample, train
from score_sde.samplers.configured import configure
from score_sde.sde_lib import build_sde
from score_sde.training.feed import Given, Rows
from score_sde.training.score_task import build_score_task
from score_sde.training.start import state_shapes
from score_sde.training.state import init_params
from score_sde.training.step import build_train_step

# Numbers of training images of the datasets that data.in_memory=auto keeps on the devices; others are fed batch by batch.
RESIDENT = {"cifar10": 50_000, "digits": NUM_TRAIN}

Array = jax.ShapeDtypeStruct


def training(config: Any, devices: Devices) -> None:
    """Compile the training step of --mode train."""
    train.check(config, build_sde(config))
    task, options = build_score_task(config), config.training
    step = build_train_step(task, devices, options.skip_nonfinite > 0, options.accumulation)
    resident, given = fed(config)
    step(state_shapes(task), task.constants, resident, devices.split(given))


def fed(config: Any) -> tuple[Any, Given]:
    """The shapes of the data resident on every device, and of the inputs of a call of `training.steps_per_call` updates."""
    shape, data, options = image_shape(config.data), config.data, config.training
    lead = (options.batch_size, options.steps_per_call)
    index, names = Array(lead, jnp.int32), conditions_of(config)
    if data.name in RESIDENT and data.in_memory != "no":
        count = RESIDENT[data.name]
        return (Array((count, *shape), jnp.uint8), integers(names, (count,))), Rows(index, index)
    return None, Batch(Array((*lead, *shape), jnp.uint8), integers(names, lead), index)


def integers(names: tuple[str, ...], lead: tuple[int, ...]) -> Any:
    """The shapes of conditions, all of which are integers."""
    return {name: Array(lead, jnp.int32) for name in names} or ()


def sampling(sampler: str) -> Callable[[Any, Devices], None]:
    """Build the stage that compiles a batch of --mode sample with this sampler."""

    def stage(config: Any, devices: Devices) -> None:
        config.sampling.sampler = sampler
        sde, shape = build_sde(config), image_shape(config.data)
        sample.check(config, sde)
        run = batch_sampler(configure(config.sampling, sde), sde, shape, devices)
        indices = np.arange(config.sampling.batch_size, dtype=np.int32)
        condition = build_conditions(config)(indices)
        run(model(config, sde), key(), indices, condition, None, lambda share: None)

    return stage


def likelihoods(config: Any, devices: Devices) -> None:
    """Compile a batch of --mode likelihood."""
    sde, shape = build_sde(config), image_shape(config.data)
    likelihood.check(config, sde)
    lead = (config.likelihood.batch_size,)
    condition = integers(likelihood.given(config), lead)
    batch = Batch(Array((*lead, *shape), jnp.uint8), condition, Array(lead, jnp.int32))
    with jax.default_matmul_precision("highest"):  # as in measure_bits_per_dim
        run = build_compiled(config, sde, math.prod(shape), devices)
        run(model(config, sde), UniformDequantizer(), key(), devices.split(batch))


def key() -> Any:
    return jax.eval_shape(lambda: seed_key(0))


def model(config: Any, sde: Any) -> Any:
    """The score model of the config, with shapes in place of parameters."""
    network = build_network(config)
    params = jax.eval_shape(lambda: init_params(config, network))
    return network_score(network, params, build_parameterization(config, sde))


STAGES: dict[str, Callable[[Any, Devices], None]] = {
    "training": training,
    "pc": sampling("pc"),
    "ode": sampling("ode"),
    "likelihood": likelihoods,
}
# The section of config whose batch_size each stage uses.
SECTIONS = {"training": "training", "pc": "sampling", "ode": "sampling", "likelihood": "likelihood"}
