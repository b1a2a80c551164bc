"""--mode export: a checkpoint as a file that the published PyTorch code restores; of low-rank updates, the updates as one small file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax

from score_sde.configs.default import check_options
from score_sde.errors import UserError
from score_sde.files import cannot_write
from score_sde.foreign_weights import torch_checkpoint, torch_write
from score_sde.foreign_weights.names import check_published
from score_sde.foreign_weights.record import from_state
from score_sde.models.low_rank import LowRank
from score_sde.models.networks import build_network
from score_sde.modes.options import refuse_adapters
from score_sde.results import report
from score_sde.sde_lib import SDE
from score_sde.training.adapters import write_adapter
from score_sde.training.checkpoints import Checkpoints, checkpoint_folder, no_checkpoint
from score_sde.training.folder_weights import adapters_of, low_rank_of
from score_sde.training.optimizer import build_optimizer
from score_sde.training.recorded_config import check_recorded, check_same_run
from score_sde.training.state import TrainState, init_params, init_state
from score_sde.training.trained_score import averaged_params, check_score_model


def check(config: Any, sde: SDE) -> None:
    """Refuse a network without a published form.

    Raises:
      UserError: saying what was given, what was expected and what to do.
    """
    check_options(config)
    check_score_model(config, sde)
    refuse_adapters(config, "export")
    if not config.training.lora.rank:
        check_published(config.model.name)


def run(config: Any, sde: SDE, workdir: Path) -> dict[str, Any]:
    """Write <workdir>/export/checkpoint_<step>.pth, of adapters <name of the folder>_<step>.npz; report the figures and return them.

    Raises:
      UserError: no checkpoint, one of another config, or the file is there already.
    """
    network, low_rank = build_network(config), low_rank_of(config.training)
    width = f"-ema{config.ema_sigma_rel:g}" if config.ema_sigma_rel else ""
    if low_rank is None:
        state = trained_state(config, network, workdir)
        record = from_state(state, config.model.ema_rate)
        contents = torch_checkpoint.contents_of(record, network, config)
        step, written = record.step, record.params
        path = workdir / "export" / f"checkpoint_{step}{width}.pth"
        save = partial(torch_write.save, contents=contents)
    else:
        written, step = trained_adapters(config, low_rank, network, workdir)
        # By the run's name, which is then in the names of files that it is used for
        path = workdir / "export" / f"{workdir.absolute().name}_{step}{width}.npz"
        save = partial(write_adapter, adapters=written, alpha=low_rank.alpha)
    if jax.process_index() == 0:
        write(path, save)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(written))
    figures = {"mode": "export", "step": step, "parameters": parameters, "file": str(path)}
    report(workdir, figures)
    return figures


def trained_adapters(
    config: Any, low_rank: LowRank, network: Any, workdir: Path
) -> tuple[Any, int]:
    """The averaged adapters of a folder, which must be of this config, and their step."""
    check_same_run(config, workdir)
    template = jax.eval_shape(lambda: init_params(config, network))
    return adapters_of(workdir, low_rank, template, config.checkpoint_step, config.ema_sigma_rel)


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


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Under another name first: a file of this name is whole. Nothing is written over."""
    if path.exists():
        raise UserError(f"{path} exists already; move or delete it to export this step again")
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".partial")
    try:
        save(unfinished)
        unfinished.rename(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        unfinished.unlink(missing_ok=True)
