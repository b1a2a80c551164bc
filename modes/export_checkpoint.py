"""--mode export: a checkpoint as a file that the published PyTorch code restores."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax

from score_sde.configs.default import check_options
from score_sde.errors import UserError
from score_sde.files import cannot_write
from score_sde.foreign_weights import torch_checkpoint, torch_write
from score_sde.foreign_weights.names import check_published
from score_sde.foreign_weights.record import from_state
from score_sde.models.networks import build_network
from score_sde.results import report
from score_sde.sde_lib import SDE
from score_sde.training.checkpoints import Checkpoints, checkpoint_folder, no_checkpoint
from score_sde.training.optimizer import build_optimizer
from score_sde.training.recorded_config import check_recorded
from score_sde.training.state import TrainState, init_state
from score_sde.training.trained_score import averaged_params, check_score_model


def check(config: Any, sde: SDE) -> None:
    """Refuse a network without a published form.

    Raises:
      UserError: saying what was given, what was expected and what to do.
    """
    check_options(config)
    check_score_model(config, sde)
    check_published(config.model.name)


def run(config: Any, sde: SDE, workdir: Path) -> dict[str, Any]:
    """Write <workdir>/export/checkpoint_<step>.pth, report the figures and return them.

    Raises:
      UserError: no checkpoint, one of another config, or the file is there already.
    """
    network = build_network(config)
    state = trained_state(config, network, workdir)
    record = from_state(state, config.model.ema_rate)
    contents = torch_checkpoint.contents_of(record, network, config)
    width = f"-ema{config.ema_sigma_rel:g}" if config.ema_sigma_rel else ""
    path = workdir / "export" / f"checkpoint_{record.step}{width}.pth"
    if jax.process_index() == 0:
        write(path, contents)
    figures = {
        "mode": "export",
        "step": record.step,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(record.params)),
        "file": str(path),
    }
    report(workdir, figures)
    return figures


def trained_state(config: Any, network: Any, workdir: Path) -> TrainState:
    """The state of training in a folder, which must have a checkpoint."""
    # Looking for a checkpoint in the wrong place must not leave a folder there.
    if not checkpoint_folder(workdir).is_dir():
        raise no_checkpoint(checkpoint_folder(workdir))
    template = jax.eval_shape(lambda: init_state(config, network, build_optimizer(config)))
    with Checkpoints(workdir) as checkpoints:
        state = checkpoints.restore(template, config.checkpoint_step)
    check_recorded(config, workdir)
    if config.ema_sigma_rel:
        averaged, _ = averaged_params(config, workdir, template.params)
        state = dataclasses.replace(state, ema_params=averaged)
    return state


def write(path: Path, contents: dict[str, Any]) -> None:
    """Under another name first: a file of this name is whole. Nothing is written over."""
    if path.exists():
        raise UserError(f"{path} exists already; move or delete it to export this step again")
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        torch_write.save(partial, contents)
        partial.rename(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        partial.unlink(missing_ok=True)
