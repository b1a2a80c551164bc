"""--mode import: turn a file of published weights into a checkpoint to sample from, measure or train further."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax

from score_sde.configs.default import check_options
from score_sde.errors import ConfigError
from score_sde.foreign_weights import checkpoint_file
from score_sde.foreign_weights.published_networks import CLASSIFIER, check_published
from score_sde.foreign_weights.record import Record, to_state
from score_sde.foreign_weights.state_dict_file import check_never_asked
from score_sde.modes.new_folder import nothing_left_on_failure, saved
from score_sde.modes.options import refuse_average
from score_sde.results import report
from score_sde.sde_lib import SDE
from score_sde.training.classifier_task import check_classifier_training
from score_sde.training.optimizer import build_optimizer
from score_sde.training.recorded_config import check_recorded
from score_sde.training.trained_score import check_score_model


def check(config: Any, sde: SDE) -> None:
    """Refuse a network that has no published counterpart.

    Raises:
      UserError: states what was given, what was expected and what to do.
    """
    refuse_average(config, "import")
    if config.checkpoint_step:
        raise ConfigError(
            f"checkpoint_step={config.checkpoint_step}: --mode import writes a checkpoint and reads none; leave it out"
        )
    check_options(config)
    training = config.training
    begun = {
        "ema.sigma_rel": (tuple(training.ema.sigma_rel), ()),
        "time_cells": (training.time_cells, 0),
        "lora.rank": (training.lora.rank, 0),
    }
    for name, (given, off) in begun.items():
        if given != off:
            raise ConfigError(
                f"training.{name}={given}: this state is collected during training, and a published file has none; set "
                f"training.{name}={off}, or start a training run from its weights: training.init_from"
            )
    if config.training.task == CLASSIFIER:
        check_classifier_training(config)
    else:
        check_score_model(config, sde, to_sample=True)
    check_published(config)


def run(config: Any, sde: SDE, workdir: Path, source: Path) -> dict[str, Any]:
    """Read `source`, write <workdir>/checkpoints/<step>, and report and return the figures.

    Raises:
      UserError: the folder has checkpoints already, or the file does not match the config's network.
    """
    with nothing_left_on_failure(workdir):
        check_recorded(config, workdir)
        record = checkpoint_file.read(source, config)
        check_never_asked(record, config)
        state = to_state(record, build_optimizer(config))
        saved(state, config, workdir)
    figures = figures_of(record, config)
    report(workdir, {"mode": "import", "source": str(source), **figures})
    return figures


def figures_of(record: Record, config: Any) -> dict[str, Any]:
    """A summary of the file, and of where training with the config would differ from it."""
    figures: dict[str, Any] = {
        "format": record.format,
        "step": record.step,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(record.params)),
        "ema_rate": record.ema_rate,
        "optimizer": "absent; Adam's moments start at zero"
        if record.moments is None
        else f"Adam's moments after {record.moments.updates} updates",
    }
    if record.notes:
        figures["notes"] = list(record.notes)
    if record.ema_rate != config.model.ema_rate:
        figures["ema_rate_of_config"] = config.model.ema_rate
        figures["note"] = (
            f"training would continue with the config's ema_rate; to keep the file's: --config.model.ema_rate={record.ema_rate}"
        )
    return figures
