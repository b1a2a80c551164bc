"""Stored dequantizers: <workdir>/dequantizer/<name of the score model's weights>/, such as step6, step6-ema0.1 or step6-lora1.

    dequantizer.json   options of the flow, the format of its images, and hash and norms of the score model's weights
    checkpoints/       TrainState of the flow, written atomically as for score models
    metrics.jsonl      metrics of its training

The bound holds with any q, so a flow trained for other weights would give a valid bound, but an unnecessarily loose one without any
sign of it. Hence there is one folder per checkpoint, weight average and choice of adapters, and a likelihood only uses a flow trained
for the same weights. They are compared by hash or, since weights computed on loading are rounded differently on another machine, by norms.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_sde.errors import UserError
from score_sde.files import parse_json, write_whole
from score_sde.likelihood.dequantization.dequantizer import Dequantizer, UniformDequantizer
from score_sde.likelihood.dequantization.flow import (
    DequantizationFlow,
    FlowDequantizer,
    init_params,
)
from score_sde.options import choose
from score_sde.spaces import build_space
from score_sde.training.checkpoints import checkpoint_folder, restore_ema
from score_sde.training.known_weights import hash_of_weights, near_norms, norms_of_weights
from score_sde.training.recorded_config import as_json
from score_sde.training.trained_score import LoadedScore

FORMAT = 1  # version of the file format
FILE = "dequantizer.json"
DATA_FIELDS = ("image_size", "image_width", "num_channels", "num_levels")


def dequantizer_folder(workdir: Path, loaded: LoadedScore) -> Path:
    """The folder of the dequantizer for these weights; step 0 stands for a score known in closed form."""
    return Path(workdir) / "dequantizer" / loaded.name


def build_flow(config: Any) -> DequantizationFlow:
    """Build the flow of config.dequantizer, without parameters."""
    return DequantizationFlow(
        config.data.num_levels, config.dequantizer.width, config.dequantizer.depth
    )


def record_of(config: Any) -> dict[str, Any]:
    """The settings that the weights of a flow depend on."""
    return {
        "format": FORMAT,
        **{name: as_json(config)["data"][name] for name in DATA_FIELDS},
        "width": config.dequantizer.width,
        "depth": config.dequantizer.depth,
        **of_bound(config),
    }


def of_bound(config: Any) -> dict[str, Any]:
    """The settings of the bound that a flow is trained for; files written before they were recorded have none of them."""
    return {"eps": config.likelihood.eps, "conditional": config.likelihood.conditional}


def write_record(config: Any, folder: Path, model: Any) -> None:
    """Write the record of this config and score model, or compare it with the record that the folder already has.

    Raises:
      UserError: the folder holds a flow with other options or for other weights.
    """
    path = folder / FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if jax.process_index() == 0:
            weights = {"weights": hash_of_weights(model), "norms": norms_of_weights(model)}
            record = {**record_of(config), **weights}
            write_whole(path, (json.dumps(record, indent=1) + "\n").encode())
        return
    recorded = {**of_bound(config), **read_record(path)}
    refuse_difference(path, recorded, record_of(config))
    refuse_other_weights(path, recorded, model)


def read_record(path: Path) -> dict[str, Any]:
    """Read the record; raises UserError for a damaged file."""
    try:
        # Default for files written before non-square images.
        found = {"image_width": 0, **parse_json(path.read_bytes())}
        for name in ("width", "depth"):
            if type(found.get(name)) is not int or found[name] < 1:
                raise ValueError(f"it has no {name}")
        np.asarray(found.get("norms", []), np.float64)  # raises unless these are numbers
        return found
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({error}): put back a copy, or remove {path.parent} and run --mode dequantize"
        ) from error


def refuse_difference(path: Path, recorded: dict[str, Any], given: dict[str, Any]) -> None:
    """Raise UserError if the flow was trained with other settings."""
    differences = [
        f"{name}={given[name]!r} (trained with {recorded.get(name)!r})"
        for name in given
        if recorded.get(name) != given[name]
    ]
    if differences:
        raise UserError(
            f"the dequantizer in {path.parent} was trained with another config: {', '.join(differences)}; use those "
            "values, or remove that folder and run --mode dequantize"
        )


def refuse_other_weights(path: Path, recorded: dict[str, Any], model: Any) -> None:
    """Raise UserError if the flow was trained for other weights of the same name: retrained ones, or other adapters.

    A record of an earlier version, which has no hash, is accepted by the name of its folder.
    """
    same = "weights" not in recorded or recorded["weights"] == hash_of_weights(model)
    if not same and not near_norms(recorded.get("norms", ()), model):
        raise UserError(
            f"the dequantizer in {path.parent} was trained for other weights of the score model (retrained to the same step, or with other "
            "adapters of the same name): remove that folder and run --mode dequantize"
        )


def load_flow(config: Any, workdir: Path, loaded: LoadedScore) -> FlowDequantizer:
    """Load the flow trained for these weights of the score model, built with its recorded options."""
    folder = dequantizer_folder(workdir, loaded)
    path = folder / FILE
    if not path.exists() or not checkpoint_folder(folder).is_dir():
        others = sorted(entry.name for entry in folder.parent.glob("step*"))
        beside = f" (there is one for {', '.join(others)})" if others else ""
        raise UserError(
            f"likelihood.dequantization='variational' needs a dequantizer for the checkpoint of step "
            f"{loaded.checkpoint_step or 0} in {folder}{beside}: run --mode dequantize first, with the same config, "
            "checkpoint_step, ema_sigma_rel, adapters and workdir"
        )
    recorded = read_record(path)
    given = record_of(config)
    refuse_difference(path, recorded, {name: given[name] for name in ("format", *DATA_FIELDS)})
    refuse_other_weights(path, recorded, loaded.model)
    flow = DequantizationFlow(recorded["num_levels"], recorded["width"], recorded["depth"])
    shape = build_space(config).shape
    template = jax.eval_shape(lambda: init_params(flow, shape, jax.random.key(0)))
    params, _ = restore_ema(folder, template)
    return FlowDequantizer(params, flow)


DEQUANTIZERS: dict[str, Callable[[Any, Path, LoadedScore], Dequantizer]] = {
    "uniform": lambda config, workdir, loaded: UniformDequantizer(),
    "variational": load_flow,
}


def load_dequantizer(config: Any, workdir: Path, loaded: LoadedScore) -> Dequantizer:
    """Load the dequantizer that config.likelihood.dequantization names, for a score model of this folder.

    Raises:
      UserError: an unknown name; no dequantizer for this checkpoint; or one trained for other weights or images.
    """
    load = choose("likelihood.dequantization", config.likelihood.dequantization, DEQUANTIZERS)
    return load(config, workdir, loaded)
