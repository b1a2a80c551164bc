"""--mode train: train a score network, or go on where an earlier run in the folder stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL.Image import Image

from score_sde.configs.default import check_options
from score_sde.errors import ConfigError
from score_sde.generation.generate import build_generator
from score_sde.generation.sampled_score import sampled_score
from score_sde.models.networks import build_network, network_score
from score_sde.models.parameterization import build_parameterization
from score_sde.modes import sample
from score_sde.modes.options import refuse_average
from score_sde.results import report
from score_sde.samplers.configured import Configured, needs_errors
from score_sde.sde_lib import SDE
from score_sde.spaces import build_space
from score_sde.training.losses import build_loss
from score_sde.training.objective import check_label_dropout
from score_sde.training.score_task import train
from score_sde.training.settings import check_config
from score_sde.training.task import Evaluator
from score_sde.training.trained_score import EXACT, check_score_model
from score_sde.training.weights_and_biases import check_wandb, weights_and_biases


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
    refuse_average(config, "train")
    check_score_model(config, sde)
    check_config(config)
    check_label_dropout(config)
    build_loss(config, sde)
    check_wandb(config.training.wandb)
    configured: tuple[Configured, ...] = ()
    if config.training.snapshot_freq:
        drawn = drawn_config(config)
        check_options(drawn)
        configured = sample.check_sampling(drawn, sde)
        if drawn.sampling.t_start:
            raise ConfigError(
                "the pictures drawn in training begin at the prior: leave out sampling.t_start and sampling.start_images, or "
                "set training.snapshot_freq=0"
            )
        if needs_errors(drawn.sampling):
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
    watch = weights_and_biases(config)
    figures = {"mode": "train", **train(config, workdir, pictures, sde, watch)}
    report(workdir, figures)
    return figures


def drawn_config(config: Any) -> Any:
    """The config by which the pictures are drawn on the way: where training.snapshot_steps says so, in few steps."""
    steps = config.training.snapshot_steps
    if not steps:
        return config
    drawn = config.copy_and_resolve_references()
    drawn.sampling.update(
        sampler="unipc_3", t_start=0.0, start_images="", noise_removal_by="tweedie"
    )
    drawn.sampling.exponential.update(steps="grid", num_steps=steps, eta=0.0)
    drawn.sampling.grid.name = "log_snr"
    return drawn


def pictures_of(
    config: Any, sde: SDE, workdir: Path, configured: Configured | None = None
) -> Evaluator:
    """Every training.snapshot_freq steps a picture of samples, from the same noise each time, in snapshots/ too."""
    config = drawn_config(config)
    network = build_network(config)
    parameterization = build_parameterization(config, sde)
    space = build_space(config)
    generator = build_generator(config, sde, space.shape, configured=configured)

    def draw(ema_params: Any, step: int) -> dict[str, Image]:
        score = network_score(network, ema_params, parameterization)
        model = sampled_score(config, sde, space, score)
        x = generator(model, config.training.snapshot_size, config.seed, show=False).x
        if jax.process_index() > 0:
            return {}
        path = workdir / "snapshots" / f"step{step:08d}.png"
        images = np.asarray(space.decode(jnp.asarray(x)))
        return {"samples": sample.save_picture(config, path, images, config.data.num_levels)}

    return Evaluator(config.training.snapshot_freq, draw=draw)
