"""The programs of this project, as works to be timed (benchmarks/turns.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array

from benchmarks.accelerator.setting import images, times
from benchmarks.flops import matrix_flops
from benchmarks.random_network import first_params, random_network
from benchmarks.turns import Work
from score_sde.data.splits import ImagesInMemory
from score_sde.devices import Devices, build_devices
from score_sde.models.networks import build_network
from score_sde.sde_lib import build_sde
from score_sde.training.feed import feed, stacked
from score_sde.training.score_task import build_score_task
from score_sde.training.state import first_state, init_params
from score_sde.training.step import build_train_step

NUM_IMAGES = 50_000  # as CIFAR-10 has


def random_split(config: Any, count: int = NUM_IMAGES) -> ImagesInMemory:
    """Images (count, h, w, c) of randomly colored squares, which a network can learn within a minute."""
    side, channels = config.data.image_size, config.data.num_channels
    shape = (count, max(side // 4, 1), max(side // 4, 1), channels)
    colours = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    return ImagesInMemory(colours.repeat(min(side, 4), axis=1).repeat(min(side, 4), axis=2))


class TrainingSteps:
    """The training step of `--mode train`, on images that are kept on the device."""

    def __init__(self, config: Any, batch: int, devices: Devices | None = None):
        """Prepare training on these devices, or on those that `config` names."""
        config.training.batch_size = batch
        self.devices, task = devices or build_devices(config), build_score_task(config)
        self.train_step = build_train_step(task, self.devices)
        split = random_split(config, max(batch, 1000))
        self.resident, self.steps = feed(config.seed, batch, split, 0, self.devices)

        params = first_params(config)
        shapes = jax.eval_shape(lambda: first_state(params, task.optimizer))
        places = jax.tree.map(self.devices.place, shapes)
        first = jax.jit(first_state, static_argnums=1, out_shardings=places)
        self.state = first(params, task.optimizer)

    def __call__(self, count: int) -> None:
        metrics: dict[str, Array] = {}
        for _ in range(count):
            given = self.devices.split(stacked([next(self.steps)]))
            self.state, metrics = self.train_step(self.state, (), self.resident, given)
        assert np.isfinite(metrics["loss"]).all()


def repeated(f: Callable[..., Any], *arguments: Any) -> Work:
    """Return a work that repeats f with the same arguments and waits for the result at the end."""

    def work(count: int) -> None:
        result = None
        for _ in range(count):
            result = f(*arguments)
        jax.block_until_ready(result)

    return work


def forward(config: Any, batch: int) -> Work:
    """Evaluations of the score."""
    f = jax.jit(lambda model, x, t: model(x, t))
    return repeated(
        f, random_network(config, build_sde(config)), images(config, batch), times(batch)
    )


def shared_forward(config: Any, batch: int, devices: Devices) -> Work:
    """Evaluations of the score with the batch shared by these devices, as in sampling."""
    model = random_network(config, build_sde(config))
    f = devices.data_parallel(lambda model, x, t: model(x, t), (False, True, True))
    return repeated(f, model, *devices.split((images(config, batch), times(batch))))


def forward_flops(config: Any) -> int:
    """Floating-point operations of one evaluation for one image."""
    network = build_network(config)
    params = jax.eval_shape(lambda: init_params(config, network))
    shapes = jax.eval_shape(lambda: (images(config, 1), times(1)))
    return matrix_flops(lambda p, x, t: network.apply({"params": p}, x, t), params, *shapes)
