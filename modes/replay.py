"""--mode replay: repeat one update of a run, to find the images and parameters behind a non-finite loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_sde import data
from score_sde.devices import build_devices
from score_sde.errors import ConfigError
from score_sde.files import write_whole
from score_sde.modes import train
from score_sde.results import report
from score_sde.sde_lib import SDE
from score_sde.training.kinds import KINDS
from score_sde.training.known_classes import known_classes
from score_sde.training.low_rank_task import adapting
from score_sde.training.recorded_config import check_same_run
from score_sde.training.replay import check_same_updates, replay
from score_sde.training.score_task import with_weights
from score_sde.training.task import Plan

SHOWN = 8  # images and parameters in the report


def check(config: Any, sde: SDE) -> None:
    """Refuse what cannot be trained, updates beyond the end of the run, and a checkpoint_step."""
    step, n_iters = config.training.replay_step, config.training.n_iters
    if step > n_iters:
        raise ConfigError(
            f"training.replay_step={step}: the run ends with update {n_iters} (training.n_iters); choose one of 1 to {n_iters}, or 0 for "
            "the one after the newest checkpoint"
        )
    if config.checkpoint_step:
        raise ConfigError(
            f"checkpoint_step={config.checkpoint_step}: an update is replayed from the checkpoint before it; leave it out, and choose the "
            f"update by training.replay_step, {config.checkpoint_step + 1} for the one after that checkpoint"
        )
    train.check(config, sde)


def run(config: Any, sde: SDE, workdir: Path) -> dict[str, Any]:
    """Write <workdir>/replay/step<n>.npz with the loss of each image and the gradient norm of each parameter.

    Raises:
      UserError: the run or that update of it had another config, or the checkpoint is damaged.
    """
    step = config.training.replay_step
    check_same_run(config, workdir)
    kind = KINDS[config.training.task]
    conditions, classes = kind.conditions(config), known_classes(config, workdir)
    datasets = data.load(config, conditions=conditions, whole=True, classes=classes)
    check_same_updates(config, workdir, datasets.fingerprint, step)
    plan = Plan.from_config(config, config.training)
    task, weights = with_weights(kind.build(config, sde), workdir)
    adapted, weights = adapting(config, task, workdir, weights)
    found = replay(adapted, plan, datasets.train, workdir, build_devices(config), step, weights)
    path = workdir / "replay" / f"step{found.step:08d}.npz"
    figures = {
        "mode": "replay",
        "step": found.step,
        "from_checkpoint": found.from_checkpoint,
        "loss": found.loss,
        "grad_norm": found.grad_norm,
        "images": worst(found.images, found.losses),
        "parameters": worst(np.array([*found.grad_norms]), np.array([*found.grad_norms.values()])),
        "arrays": str(path),
    }
    if jax.process_index() == 0:
        arrays = {
            "images": found.images,
            "losses": found.losses,
            "parameters": np.array([*found.grad_norms]),
            "grad_norms": np.array([*found.grad_norms.values()]),
        }
        write_whole(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    report(workdir, figures)
    return figures


def worst(names: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """The SHOWN worst: non-finite values first, then the largest in magnitude."""
    order = np.argsort(np.where(np.isfinite(values), -np.abs(values), -np.inf), kind="stable")
    return {str(names[i]): float(values[i]) for i in order[:SHOWN]}
