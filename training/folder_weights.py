"""The averaged weights in a folder: those of a checkpoint or, if low-rank updates were trained, the base with these merged in."""

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
"""The file with the frozen weights, next to the checkpoints of adapters or of a ControlNet, so that the folder is self-contained."""


def low_rank_of(training: Any) -> LowRank | None:
    """Return the low-rank settings of config.training.lora; None for rank 0."""
    lora = training["lora"]
    rank = int(lora["rank"])
    return LowRank(rank, float(lora["alpha"]), str(lora["targets"])) if rank else None


def recorded_low_rank(workdir: Path) -> LowRank | None:
    """Return the low-rank settings recorded in a folder, independently of the current config; None if weights were trained.

    Raises:
      UserError: the folder's config is damaged.
    """
    found = recorded(workdir)
    training = (found or {}).get("training", {})
    return low_rank_of(training) if "lora" in training else None


def keep_base(workdir: Path, params: Any) -> None:
    """Store the frozen weights in a folder; only the first host writes."""
    if jax.process_index() == 0:
        write_tree(workdir / BASE, params)


def base_of(workdir: Path, template: Any) -> Any:
    """Read the frozen weights of a folder, as NumPy arrays with the shapes of the template.

    Raises:
      UserError: the file is missing, damaged or of another network.
    """
    return read_tree(workdir / BASE, template)


def adapters_of(
    workdir: Path, low_rank: LowRank, template: Any, step: int = 0, sigma_rel: float = 0.0
) -> tuple[Any, int]:
    """Read the averaged adapters of a folder, as NumPy arrays, and their step; `template` has the shapes of the weights they update."""
    shapes = jax.eval_shape(lambda: first_adapters(low_rank, template, jax.random.key(0)))
    adapters, step = average_of(workdir, shapes, step, sigma_rel)
    return jax.device_get(adapters), step


def average_of(
    workdir: Path, template: Any, step: int = 0, sigma_rel: float = 0.0
) -> tuple[Any, int]:
    """Read the average of the trained parameters, weights or adapters, and its step: the EMA, or a power-function average."""
    if sigma_rel:
        params, step = reconstructed(workdir, template, sigma_rel, step)
        return jax.device_put(params, replicated()), step
    return restore_ema(workdir, template, step)


def folder_weights(
    workdir: Path, template: Any, step: int = 0, sigma_rel: float = 0.0
) -> tuple[Any, int]:
    """Load the averaged parameters of a network from a folder, replicated on all devices, and their training step.

    Args:
      template: the shapes of the parameters: `jax.eval_shape(lambda: init_params(config, network))`.
      step: the step of the checkpoint; 0: the newest.
      sigma_rel: the width of a power-function average; 0: the EMA.

    Raises:
      UserError: there is no such checkpoint, it belongs to another network, or it has no such average.
    """
    low_rank = recorded_low_rank(workdir)
    if low_rank is None:
        return average_of(workdir, template, step, sigma_rel)
    adapters, step = adapters_of(workdir, low_rank, template, step, sigma_rel)
    params = merged(base_of(workdir, template), adapters, low_rank.scale)
    return jax.device_put(params, replicated()), step
