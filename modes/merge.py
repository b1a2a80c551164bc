"""--mode merge: make a folder with the weighted mean of the weights of other folders, plus the updates of adapters.

    W = sum_j c_j W_j + sum_i s_i (alpha_i / r_i) A_i B_i,    sum_j c_j = 1

For several fine-tunings of one network this is a model soup (Wortsman et al. 2022); for two networks it is a point on the line through
them. For a single folder it gives the full weights of a network with adapters or, with config.ema_sigma_rel, those of a power-function
average.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_sde.configs.default import check_options
from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path
from score_sde.foreign_weights.record import Record, to_state
from score_sde.models.networks import build_network
from score_sde.modes.new_folder import nothing_left_on_failure, saved
from score_sde.results import report
from score_sde.sde_lib import SDE
from score_sde.training.adapters import chosen_adapters, with_adapters
from score_sde.training.folder_weights import folder_weights
from score_sde.training.frozen import frozen_names
from score_sde.training.known_classes import check_same_classes
from score_sde.training.optimizer import build_optimizer
from score_sde.training.recorded_config import (
    check_learned_no_class,
    check_recorded,
    recorded_classes,
)
from score_sde.training.state import init_params
from score_sde.training.trained_score import EXACT, check_score_model

# Fields that describe how the original weights were trained, reset because the merged weights are different ones.
OF_THE_TRAINING = {
    "training.lora.rank": 0,
    "training.time_cells": 0,
    "training.trainable": "",
    "training.init_from": "",
    "training.ema.sigma_rel": (),
    "checkpoint_step": 0,
    "ema_sigma_rel": 0.0,
    "adapters": "",
    "adapter_scales": (),
    "merge.folders": "",
    "merge.weights": (),
}


def check(config: Any, sde: SDE) -> None:
    """Refuse an empty list of folders, or numbers of weights and folders that differ.

    Raises:
      UserError: states what was given, what was expected and what to do.
    """
    check_options(config)
    if config.model.name == EXACT:
        raise ConfigError(f"model.name={EXACT} has no weights to merge; use a network")
    check_score_model(config, sde, to_sample=True)
    if frozen_names(build_network(config)):
        raise ConfigError(
            f"model.name={config.model.name!r} with --mode merge: a ControlNet belongs to the base network in its folder and cannot be "
            "averaged; give folders of another network"
        )
    folders_of(config)


def folders_of(config: Any) -> list[tuple[Path, float]]:
    """The folders of config.merge, each with its weight in the mean."""
    merge = config.merge
    folders = [user_path(name.strip()) for name in merge.folders.split(",") if name.strip()]
    if not folders:
        raise ConfigError(
            "merge.folders is empty: expected the folders whose weights are averaged, separated by commas"
        )
    weights = [float(weight) for weight in merge.weights]
    if weights and len(weights) != len(folders):
        raise ConfigError(
            f"merge.weights={tuple(weights)} has {len(weights)} numbers for the {len(folders)} of merge.folders={merge.folders!r}; give one "
            "for each, or none for equal weights"
        )
    return list(zip(folders, weights or [1 / len(folders)] * len(folders), strict=True))


def run(config: Any, sde: SDE, workdir: Path) -> dict[str, Any]:
    """Write <workdir>/checkpoints/<step>, with the latest step of the folders; report and return the figures.

    Raises:
      UserError: --workdir has checkpoints already, or one of the folders has none, or has weights of another network.
    """
    folders = folders_of(config)
    with nothing_left_on_failure(workdir):
        check_recorded(config, workdir)
        classes = classes_of([folder for folder, _ in folders])
        template = jax.eval_shape(lambda: init_params(config, build_network(config)))
        params, steps = mean_weights(config, folders, template)
        params = with_adapters(config, params, classes)
        made = config.copy_and_resolve_references()
        made.update_from_flattened_dict(OF_THE_TRAINING)
        record = Record("merge", max(steps), params, params, None, config.model.ema_rate)
        saved(to_state(record, build_optimizer(made)), made, workdir, classes)
    figures = {
        "mode": "merge",
        "step": max(steps),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "folders": [str(folder) for folder, _ in folders],
        "weights": [weight for _, weight in folders],
        "steps": steps,
        "adapters": [list(pair) for pair in chosen_adapters(config)],
    }
    report(workdir, figures)
    return figures


def classes_of(folders: list[Path]) -> tuple[str, ...]:
    """The class names shared by the folders, in order of the labels; () if no folder has any.

    Raises:
      UserError: folders with different classes.
    """
    known, first = next(
        ((classes, folder) for folder in folders if (classes := recorded_classes(folder))),
        ((), folders[0]),
    )
    for folder in folders:
        check_same_classes("merge.folders", folder, known, str(first))
    return known


def mean_weights(
    config: Any, folders: list[tuple[Path, float]], template: Any
) -> tuple[Any, list[int]]:
    """sum_j c_j W_j of the averaged weights in the folders, and the step of each; for one folder bit for bit its weights.

    Memory: the weights of one folder, and the sum in float64.
    """
    total = jax.tree.map(lambda like: np.zeros(like.shape, np.float64), template)
    steps = []
    for folder, weight in folders:
        try:
            check_recorded(config, folder)
            check_learned_no_class(config, folder)
            params, step = folder_weights(
                folder, template, config.checkpoint_step, config.ema_sigma_rel
            )
        except UserError as error:
            raise ConfigError(f"merge.folders: {error}") from None
        params = jax.device_get(params)
        total = jax.tree.map(lambda s, p, c=weight: s + c * p.astype(np.float64), total, params)
        steps.append(step)
    return jax.tree.map(lambda s, like: s.astype(like.dtype), total, template), steps
