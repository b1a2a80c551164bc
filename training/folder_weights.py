"""The averaged weights of a folder: those of a checkpoint, or where low-rank updates were trained, what they update with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax

from score_sde.devices import replicated
from score_sde.models.low_rank import LowRank, first_adapters, merged
from score_sde.training.checkpoints import restore_ema
from score_sde.training.kept_averages import reconstructed
from score_sde.training.recorded_config import recorded
from score_sde.training.weights_file import read_tree, write_tree

BASE = "base.npz"
"""In a folder of adapters, beside its checkpoints: the weights that they update, which no update moves. So the folder is whole."""


def low_rank_of(training: Any) -> LowRank | None:
    """What config.training.lora says; None for rank 0."""
    lora = training["lora"]
    rank = int(lora["rank"])
    return LowRank(rank, float(lora["alpha"]), str(lora["targets"])) if rank else None


def recorded_low_rank(workdir: Path) -> LowRank | None:
    """The same of what was trained in a folder, whatever the config at hand says.

    Raises:
      UserError: its config is damaged.
    """
    found = recorded(workdir)
    training = (found or {}).get("training", {})
    return low_rank_of(training) if "lora" in training else None


def keep_base(workdir: Path, params: Any) -> None:
    """Write the weights that this folder's adapters update."""
    if jax.process_index() == 0:
        write_tree(workdir / BASE, params)


def base_of(workdir: Path, template: Any) -> Any:
    """These weights, NumPy arrays; the template has their shapes.

    Raises:
      UserError: the file is missing or damaged, or of another network.
    """
    return read_tree(workdir / BASE, template)


def adapters_of(
    workdir: Path, low_rank: LowRank, template: Any, step: int = 0, sigma_rel: float = 0.0
) -> tuple[Any, int]:
    """The averaged adapters of a folder, NumPy arrays, and their step; the template has the shapes of the weights that they update."""
    shapes = jax.eval_shape(lambda: first_adapters(low_rank, template, jax.random.key(0)))
    adapters, step = average_of(workdir, shapes, step, sigma_rel)
    return jax.device_get(adapters), step


def average_of(
    workdir: Path, template: Any, step: int = 0, sigma_rel: float = 0.0
) -> tuple[Any, int]:
    """The average of what was trained in a folder, weights or adapters, and its step: the exponential one, or that of a width."""
    if sigma_rel:
        params, step = reconstructed(workdir, template, sigma_rel, step)
        return jax.device_put(params, replicated()), step
    return restore_ema(workdir, template, step)


def folder_weights(
    workdir: Path, template: Any, step: int = 0, sigma_rel: float = 0.0
) -> tuple[Any, int]:
    """The averaged parameters of a network from a folder, on all devices, and the training step that they are of.

    Args:
      template: their shapes: `jax.eval_shape(lambda: init_params(config, network))`.
      step: which checkpoint; 0: the newest.
      sigma_rel: the width of a power-function average; 0: the exponential one.

    Raises:
      UserError: there is no such checkpoint, it is of another network, or has no such average.
    """
    low_rank = recorded_low_rank(workdir)
    if low_rank is None:
        return average_of(workdir, template, step, sigma_rel)
    adapters, step = adapters_of(workdir, low_rank, template, step, sigma_rel)
    params = merged(base_of(workdir, template), adapters, low_rank.scale)
    return jax.device_put(params, replicated()), step
