"""What is drawn of a network as it trains, with its averaged weights: pictures of samples, and how good samples are.

Both are from the same noise at every step, so that steps can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL.Image import Image

from score_sde.configs.default import check_options
from score_sde.errors import ConfigError
from score_sde.generation.generate import build_generator
from score_sde.generation.guides import has_guides
from score_sde.generation.sampled_score import sampled_score
from score_sde.modes import evaluate, sample
from score_sde.modes.evaluated_samples import strata_of_samples
from score_sde.progress import say
from score_sde.quality.few_images import frechet_figures, has_limit
from score_sde.quality.reference import open_reference
from score_sde.quality.table import flat
from score_sde.samplers.configured import needs_errors
from score_sde.samplers.problem import Configured
from score_sde.sde_lib import SDE
from score_sde.spaces import build_space
from score_sde.training.known_classes import known_classes
from score_sde.training.task import Evaluator
from score_sde.training.trained_score import score_models

FEWEST = 20  # real images, as training.quality_images

Drawing = Callable[[Any, int, bool], np.ndarray]
"""(averaged parameters, number, whether a bar is shown) -> stored images (n, h, w, c)."""


class Drawn(NamedTuple):
    """The samplers, of what is drawn at all."""

    pictures: Configured | None = None
    quality: Configured | None = None


def check_drawn(config: Any, sde: SDE) -> Drawn:
    """Refuse what cannot be drawn on the way; gives the samplers.

    Raises:
      UserError: saying what was given, what was expected and what to do.
    """
    training = config.training
    pictures = quality = None
    if training.snapshot_freq:
        drawn = drawn_config(config, training.snapshot_steps)
        check_options(drawn)
        (*found,) = sample.check_sampling(drawn, sde)
        pictures = from_noise(drawn, found, "the pictures drawn in training", "snapshot_freq")
    if training.quality_freq:
        drawn = quality_config(config)
        (*found,) = evaluate.check(drawn, sde)
        quality = from_noise(
            drawn, found, "the samples that are judged in training", "quality_freq"
        )
    return Drawn(pictures, quality)


def from_noise(drawn: Any, found: list[Configured], what: str, frequency: str) -> Configured:
    """The sampler, if it needs nothing but noise and the network."""
    if drawn.sampling.t_start:
        raise ConfigError(
            f"{what} begin at the prior: leave out sampling.t_start and sampling.start_images, or set training.{frequency}=0"
        )
    if has_guides(drawn.sampling.guidance):
        raise ConfigError(
            f"{what} are those of the network alone, which sampling.guidance.worse and classifier change: leave them out, or set "
            f"training.{frequency}=0"
        )
    if needs_errors(drawn.sampling):
        raise ConfigError(
            f"{what} cannot wait for denoising errors, which sampling.grid.name='dp' and "
            f"sampling.pc.predictor='ancestral_sampling_optimal' need: choose others, or set training.{frequency}=0"
        )
    (configured,) = found
    return configured


def drawn_config(config: Any, steps: int) -> Any:
    """The config by which images are drawn on the way: its own, or that many steps of UniPC."""
    if not steps:
        return config
    drawn = config.copy_and_resolve_references()
    drawn.sampling.update(
        sampler="unipc_3", t_start=0.0, start_images="", noise_removal_by="tweedie"
    )
    drawn.sampling.exponential.update(steps="grid", num_steps=steps, eta=0.0)
    drawn.sampling.grid.update(name="log_snr", times=())
    drawn.sampling.guidance.plus_plus = 0.0  # a step of DDIM
    return drawn


def quality_config(config: Any) -> Any:
    """The config by which --mode evaluate would draw and judge the same samples."""
    drawn = drawn_config(config, config.training.quality_steps).copy_and_resolve_references()
    drawn.sampling.num_images = config.training.quality_images
    drawn.evaluation.images = ""
    return drawn


def drawing(
    config: Any, sde: SDE, configured: Configured | None, classes: Sequence[str]
) -> Drawing:
    """The images of the config's seed, first to last, by its sampler."""
    space = build_space(config)
    generator = build_generator(config, sde, space.shape, configured=configured, classes=classes)
    with_params = score_models(config, sde)

    def draw(averaged: Any, number: int, show: bool) -> np.ndarray:
        model = sampled_score(config, sde, space, with_params(averaged))
        batches = generator.batches(model, number, config.seed, show)
        return np.concatenate([np.asarray(space.decode(jnp.asarray(batch.x))) for batch in batches])

    return draw


def pictures_of(
    config: Any, sde: SDE, workdir: Path, configured: Configured | None = None
) -> Evaluator:
    """Every training.snapshot_freq steps a picture of samples, in snapshots/ too."""
    drawn = drawn_config(config, config.training.snapshot_steps)
    draw_images = drawing(drawn, sde, configured, known_classes(config, workdir))

    def picture(step: int) -> Path:
        return workdir / "snapshots" / f"step{step:08d}.png"

    def draw(averaged: Any, step: int) -> dict[str, Image]:
        images = draw_images(averaged, config.training.snapshot_size, False)
        if jax.process_index() > 0:
            return {}
        return {
            "samples": sample.save_picture(drawn, picture(step), images, config.data.num_levels)
        }

    return Evaluator(
        config.training.snapshot_freq, draw=draw, drawn=lambda step: picture(step).exists()
    )


def quality_of(
    config: Any, sde: SDE, workdir: Path, configured: Configured | None = None
) -> Evaluator:
    """Every training.quality_freq steps the Frechet distance of samples to real images, with its error.

    The samples are the first of those that --mode evaluate draws of the same checkpoint and seed. Features of the real images are made
    now, so that nothing but a sample can fail on the way.

    Raises:
      UserError: a reference or features that cannot be read, or too few images for what is asked of them.
    """
    drawn = quality_config(config)
    extractor, _, _, reference = open_reference(drawn, workdir)
    number = config.training.quality_images
    if reference.law is not None:
        raise ConfigError(
            f"evaluation.reference={drawn.evaluation.reference!r} is a mean and a covariance: training.quality_freq takes real images, "
            "or features of them"
        )
    if reference.num_images < FEWEST:
        raise ConfigError(
            f"training.quality_freq with {reference.num_images} real images (evaluation.reference, evaluation.num_reference): a Frechet "
            f"distance with its error takes {FEWEST} or more"
        )
    beside = reference.features
    check_limit(config.training, number, beside)
    strata = (strata_of_samples(drawn, known_classes(config, workdir)), reference.strata)
    draw_images = drawing(drawn, sde, configured, known_classes(config, workdir))

    def look(averaged: Any, step: int) -> dict[str, float]:
        images = draw_images(averaged, number, True)
        x = extractor.extract(images).of_images
        return flat(frechet_figures(x, beside, config.seed, strata))

    return Evaluator(config.training.quality_freq, look, figures=("frechet",))


def check_limit(training: Any, number: int, beside: np.ndarray) -> None:
    """Say where there is no limit of infinitely many images, and refuse to compare checkpoints by it there."""
    m, dimension = beside.shape
    if has_limit(number, m, dimension):
        return
    why = (
        f"training.quality_images={number} beside {m} real images, by features of {dimension} dimensions: the Frechet distance of "
        f"infinitely many takes more than {4 * dimension} of each"
    )
    if training.keep_best and training.keep_best_by == "frechet_limit":
        raise ConfigError(f"{why}; take more, or set training.keep_best_by=frechet")
    say(f"{why}, so only that of {number} is measured; it can be compared between steps")
