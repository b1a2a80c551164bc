"""--mode train: train a score network, or go on where an earlier run in the folder stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.errors import ConfigError
from score_sde.generation.generate import build_generator
from score_sde.generation.sampled_score import sampled_score
from score_sde.models.networks import build_network, network_score
from score_sde.models.parameterization import build_parameterization
from score_sde.modes import sample
from score_sde.results import report
from score_sde.samplers.configured import Configured, needs_errors
from score_sde.sde_lib import SDE
from score_sde.spaces import build_space
from score_sde.training.loop import check_config
from score_sde.training.losses import build_loss
from score_sde.training.objective import check_label_dropout
from score_sde.training.score_task import train
from score_sde.training.task import Evaluator
from score_sde.training.trained_score import EXACT, check_score_model


def check(config: Any, sde: SDE) -> tuple[Configured, ...]:
    """Refuse what cannot be trained, or whose pictures cannot be drawn on the way; gives their sampler, if there are any.

    Raises:
      UserError: saying what was given, what was expected and what to do.
    """
    if config.model.name == EXACT:
        raise ConfigError(
            "model.name=mixture is a score known in closed form: there is nothing to train; "
            "use --mode sample or --mode likelihood"
        )
    check_score_model(config, sde)
    check_config(config)
    check_label_dropout(config)
    build_loss(config, sde)
    configured: tuple[Configured, ...] = ()
    if config.training.snapshot_freq:
        configured = sample.check(config, sde)
        if config.sampling.t_start:
            raise ConfigError(
                "the pictures drawn in training begin at the prior: leave out sampling.t_start and sampling.start_images, or "
                "set training.snapshot_freq=0"
            )
        if needs_errors(config.sampling):
            raise ConfigError(
                "the pictures drawn in training cannot wait for denoising errors, which sampling.grid.name='dp' and "
                "sampling.pc.predictor='ancestral_sampling_optimal' need: choose others, or set training.snapshot_freq=0"
            )
    return configured


def run(
    config: Any, sde: SDE, workdir: Path, configured: Configured | None = None
) -> dict[str, Any]:
    # Real-valued data have no shades to draw.
    drawn = config.training.snapshot_freq and config.data.num_levels
    pictures = {"pictures": pictures_of(config, sde, workdir, configured)} if drawn else {}
    figures = {"mode": "train", **train(config, workdir, pictures, sde)}
    report(workdir, figures)
    return figures


def pictures_of(
    config: Any, sde: SDE, workdir: Path, configured: Configured | None = None
) -> Evaluator:
    """Every training.snapshot_freq steps a picture of samples in snapshots/, from the same noise each time."""
    network = build_network(config)
    parameterization = build_parameterization(config, sde)
    space = build_space(config)
    generator = build_generator(config, sde, space.shape, configured=configured)

    def write(ema_params: Any, step: int) -> dict[str, float]:
        score = network_score(network, ema_params, parameterization)
        model = sampled_score(config, sde, space, score)
        x = generator(model, config.training.snapshot_size, config.seed, show=False).x
        if jax.process_index() == 0:
            path = workdir / "snapshots" / f"step{step:08d}.png"
            images = np.asarray(space.decode(jnp.asarray(x)))
            sample.save_picture(config, path, images, config.data.num_levels)
        return {}

    return Evaluator(config.training.snapshot_freq, write)
