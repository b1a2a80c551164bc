"""--mode train: train a score network, or go on where an earlier run in the folder stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from errors import UserError
from evaluation.pictures import save_grid
from models.networks import build_network
from models.parameterization import build_parameterization
from models.score import NetworkScore
from modes.results import report
from modes.sample import as_asked, levels
from modes.score_model import EXACT
from samplers.generate import build_generator
from sde_lib import build_sde
from training.loop import train


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
        model = as_asked(config, sde, NetworkScore(ema_params, network.apply, parameterization))
        size = config.training.snapshot_size
        x = generate(model, size, config.seed, show=False).x
        if jax.process_index() == 0:
            path = workdir / "snapshots" / f"step{step:08d}.png"
            save_grid(path, np.asarray(levels(config, jnp.asarray(x))), data.num_levels)

    return write
