"""--mode train: train a score network, or go on where an earlier run in the folder stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.errors import UserError
from score_sde.evaluation.pictures import save_grid
from score_sde.generation.generate import build_generator
from score_sde.models.networks import build_network, network_score
from score_sde.models.parameterization import build_parameterization
from score_sde.modes.sample import as_asked, levels
from score_sde.results import report
from score_sde.sde_lib import build_sde
from score_sde.training.loop import train
from score_sde.training.trained_score import EXACT


def run(config: Any, workdir: Path) -> dict[str, Any]:
    if config.model.name == EXACT:
        raise UserError(
            "model.name=mixture is a score known in closed form: there is nothing to train; "
            "use --mode sample or --mode likelihood"
        )
    # Real-valued data have no shades to draw.
    pictures = config.training.snapshot_freq and config.data.num_levels
    snapshot = snapshot_writer(config, workdir) if pictures else None
    figures = {"mode": "train", **train(config, workdir, snapshot)}
    report(workdir, figures)
    return figures


def snapshot_writer(config: Any, workdir: Path):
    """A function (averaged params, step) that draws the same images' noise each time and saves the picture."""
    sde = build_sde(config)
    network = build_network(config)
    parameterization = build_parameterization(config, sde)
    data = config.data
    generate = build_generator(config, sde, (data.image_size, data.image_size, data.num_channels))

    def write(ema_params: Any, step: int) -> None:
        model = as_asked(config, sde, network_score(network, ema_params, parameterization))
        size = config.training.snapshot_size
        x = generate(model, size, config.seed, show=False).x
        if jax.process_index() == 0:
            path = workdir / "snapshots" / f"step{step:08d}.png"
            save_grid(path, np.asarray(levels(config, jnp.asarray(x))), data.num_levels)

    return write
