"""What is kept of a dequantizer: <workdir>/dequantizer/step<step of the score model>/, a folder for each checkpoint.

    dequantizer.json   the options that it was built with, and the images that it is for
    checkpoints/       as those of score models: TrainState of the flow, written atomically
    metrics.jsonl      its training

The bound holds with any q, so noise learnt from other weights would give a true figure, but a needlessly poor one that does not
show it. Hence one folder for each step of the score model, and a likelihood takes the one of its own step or none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

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
from score_sde.training.recorded_config import as_json

FORMAT = 1  # of the file
FILE = "dequantizer.json"
DATA_FIELDS = ("image_size", "image_width", "num_channels", "num_levels")


def dequantizer_folder(workdir: Path, checkpoint_step: int | None, sigma_rel: float = 0.0) -> Path:
    """Of the dequantizer of a checkpoint's average; step 0 stands for a score known in closed form."""
    width = f"-ema{sigma_rel:g}" if sigma_rel else ""
    return Path(workdir) / "dequantizer" / f"step{checkpoint_step or 0}{width}"


def build_flow(config: Any) -> DequantizationFlow:
    """The flow of config.dequantizer, without parameters."""
    return DequantizationFlow(
        config.data.num_levels, config.dequantizer.width, config.dequantizer.depth
    )


def record_of(config: Any) -> dict[str, Any]:
    """What tells a flow's weights from those of another."""
    return {
        "format": FORMAT,
        **{name: as_json(config)["data"][name] for name in DATA_FIELDS},
        "width": config.dequantizer.width,
        "depth": config.dequantizer.depth,
    }


def write_record(config: Any, folder: Path) -> None:
    """Write the record, unless the folder has one: then check that this config's is the same.

    Raises:
      UserError: the folder holds a flow with other options.
    """
    path = folder / FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if jax.process_index() == 0:
            write_whole(path, (json.dumps(record_of(config), indent=1) + "\n").encode())
        return
    refuse_difference(path, read_record(path), record_of(config))


def read_record(path: Path) -> dict[str, Any]:
    """Raises UserError for a damaged file."""
    try:
        # Of files from before images had two sides.
        found = {"image_width": 0, **parse_json(path.read_bytes())}
        for name in ("width", "depth"):
            if type(found.get(name)) is not int or found[name] < 1:
                raise ValueError(f"it has no {name}")
        return found
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({error}): put back a copy, or remove {path.parent} and run --mode dequantize"
        ) from error


def refuse_difference(path: Path, recorded: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuse a flow that was trained with other settings, or for another checkpoint."""
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


def load_flow(config: Any, workdir: Path, checkpoint_step: int | None) -> FlowDequantizer:
    """The flow trained for this checkpoint of the score model, built with the options recorded with it."""
    folder = dequantizer_folder(workdir, checkpoint_step, config.ema_sigma_rel)
    path = folder / FILE
    if not path.exists() or not checkpoint_folder(folder).is_dir():
        others = sorted(entry.name for entry in folder.parent.glob("step*"))
        beside = f" (there is one for {', '.join(others)})" if others else ""
        raise UserError(
            f"likelihood.dequantization='variational' needs a dequantizer for the checkpoint of step "
            f"{checkpoint_step or 0} in {folder}{beside}: run --mode dequantize first, with the same config, "
            "checkpoint_step, ema_sigma_rel and workdir"
        )
    recorded = read_record(path)
    given = record_of(config)
    refuse_difference(path, recorded, {name: given[name] for name in ("format", *DATA_FIELDS)})
    flow = DequantizationFlow(recorded["num_levels"], recorded["width"], recorded["depth"])
    shape = build_space(config).shape
    template = jax.eval_shape(lambda: init_params(flow, shape, jax.random.key(0)))
    params, _ = restore_ema(folder, template)
    return FlowDequantizer(params, flow)


DEQUANTIZERS: dict[str, Callable[[Any, Path, int | None], Dequantizer]] = {
    "uniform": lambda config, workdir, step: UniformDequantizer(),
    "variational": load_flow,
}


def load_dequantizer(config: Any, workdir: Path, checkpoint_step: int | None) -> Dequantizer:
    """The dequantizer that config.likelihood.dequantization names.

    `workdir` is that of the score model, `checkpoint_step` that of its weights; None for a score known in closed form.

    Raises:
      UserError: an unknown name; none was trained for this checkpoint; or it was for other images.
    """
    load = choose("likelihood.dequantization", config.likelihood.dequantization, DEQUANTIZERS)
    return load(config, workdir, checkpoint_step)
