"""Samples drawn during training with the averaged weights: pictures of them, and their quality.

Both use the same noise at every step, so that steps can be compared.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL.Image import Image

from score_sde.configs.default import check_options
from score_sde.errors import ConfigError
from score_sde.generation.generate import Generator, build_generator
from score_sde.generation.guides import has_guides
from score_sde.generation.sampled_score import sampled_score
from score_sde.modes import evaluate, sample
from score_sde.modes.evaluated_samples import reused, strata_of_samples
from score_sde.progress import say
from score_sde.quality.few_images import frechet_figures, has_limit
from score_sde.quality.reference import open_reference
from score_sde.quality.strata import independent_count, turns_in_words
from score_sde.quality.table import flat
from score_sde.samplers.configured import needs_errors
from score_sde.samplers.problem import Configured
from score_sde.sde_lib import SDE
from score_sde.spaces import build_space
from score_sde.training.recorded_config import recorded_classes
from score_sde.training.task import Evaluator
from score_sde.training.trained_score import score_models

FEWEST = 20  # real images at least, as for training.quality_images

Drawing = Callable[[Any, int, bool], np.ndarray]
"""(averaged parameters, number of images, whether to show a progress bar) -> stored images (n, h, w, c)."""


class Drawn(NamedTuple):
    """The samplers for pictures and for quality; None for what is not drawn."""

    pictures: Configured | None = None
    quality: Configured | None = None


def check_drawn(config: Any, sde: SDE) -> Drawn:
    """Refuse samples that cannot be drawn during training; return the samplers.

    Raises:
      UserError: states what was given, what was expected and what to do.
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
    """Return the sampler; refuse one that needs more than noise and the network."""
    if drawn.sampling.t_start:
        raise ConfigError(
            f"{what} start from the prior: leave out sampling.t_start and sampling.start_images, or set training.{frequency}=0"
        )
    if has_guides(drawn.sampling.guidance):
        raise ConfigError(
            f"{what} use the network alone, without sampling.guidance.worse or classifier: leave them out, or set training.{frequency}=0"
        )
    if needs_errors(drawn.sampling):
        raise ConfigError(
            f"{what} have no denoising errors, which sampling.grid.name='dp' and sampling.pc.predictor='ancestral_sampling_optimal' need: "
            f"choose others, or set training.{frequency}=0"
        )
    (configured,) = found
    return configured


def drawn_config(config: Any, steps: int) -> Any:
    """The config for samples during training: unchanged, or with `steps` steps of UniPC if that is positive."""
    if not steps:
        return config
    drawn = config.copy_and_resolve_references()
    drawn.sampling.update(
        sampler="unipc_3", t_start=0.0, start_images="", noise_removal_by="tweedie"
    )
    drawn.sampling.exponential.update(steps="grid", num_steps=steps, eta=0.0)
    drawn.sampling.grid.update(name="log_snr", times=())
    drawn.sampling.guidance.plus_plus = 0.0  # CFG++ is a step of DDIM, not of UniPC
    return drawn


def quality_config(config: Any) -> Any:
    """The config with which --mode evaluate would draw and evaluate the same samples."""
    drawn = drawn_config(config, config.training.quality_steps).copy_and_resolve_references()
    drawn.sampling.num_images = config.training.quality_images
    drawn.evaluation.images = ""
    return drawn


def drawing(
    config: Any, sde: SDE, configured: Configured | None, classes: Callable[[], Sequence[str]]
) -> Drawing:
    """Return a function that draws the first images of the config's seed with its sampler; it calls `classes` when it first draws."""
    space = build_space(config)

    @functools.cache
    def built() -> Generator:
        return build_generator(config, sde, space.shape, configured=configured, classes=classes())

    with_params = score_models(config, sde)

    def draw(averaged: Any, number: int, show: bool) -> np.ndarray:
        model = sampled_score(config, sde, space, with_params(averaged))
        generator = built()
        batches = generator.batches(model, number, config.seed, show)
        return np.concatenate([np.asarray(space.decode(jnp.asarray(batch.x))) for batch in batches])

    return draw


def pictures_of(
    config: Any, sde: SDE, workdir: Path, configured: Configured | None = None
) -> Evaluator:
    """An evaluator that makes a picture of samples every training.snapshot_freq steps, saved in snapshots/ too."""
    drawn = drawn_config(config, config.training.snapshot_steps)
    # Recorded when the training begins.
    classes = functools.cache(lambda: recorded_classes(workdir))
    draw_images = drawing(drawn, sde, configured, classes)

    def picture(step: int) -> Path:
        return workdir / "snapshots" / f"step{step:08d}.png"

    def draw(averaged: Any, step: int) -> dict[str, Image]:
        images = draw_images(averaged, config.training.snapshot_size, False)
        if jax.process_index() > 0:
            return {}
        return {
            "samples": sample.save_picture(
                drawn, picture(step), images, config.data.num_levels, classes()
            )
        }

    return Evaluator(
        config.training.snapshot_freq, draw=draw, drawn=lambda step: picture(step).exists()
    )


def quality_of(
    config: Any, sde: SDE, workdir: Path, configured: Configured | None = None
) -> Evaluator:
    """An evaluator of the Frechet distance of samples to real images, with its error, every training.quality_freq steps.

    The samples are the first of those that --mode evaluate draws from the same checkpoint and seed. The features of the real images are
    computed now, so that during training only sampling can fail.

    Raises:
      UserError: the reference or features cannot be read, or there are too few images.
    """
    drawn = quality_config(config)
    extractor, splits, _, reference = open_reference(drawn, workdir)
    number = config.training.quality_images
    if reference.law is not None:
        raise ConfigError(
            f"evaluation.reference={drawn.evaluation.reference!r} contains only a mean and a covariance, but training.quality_freq needs "
            "real images, or features of them"
        )
    if reference.num_images < FEWEST:
        raise ConfigError(
            f"training.quality_freq with {reference.num_images} real images (evaluation.reference, evaluation.num_reference): a Frechet "
            f"distance with its error needs {FEWEST} or more"
        )
    beside = reference.features
    classes = splits.class_names or ()
    of_images = reused(drawn, classes)
    strata = (strata_of_samples(drawn, of_images, classes), reference.strata)
    check_limit(config.training, independent_count(number, strata[0]), beside)
    if of_images:
        say(turns_in_words(number, of_images))
    draw_images = drawing(drawn, sde, configured, lambda: classes)

    def look(averaged: Any, step: int) -> dict[str, float]:
        images = draw_images(averaged, number, True)
        x = extractor.extract(images).of_images
        return flat(frechet_figures(x, beside, config.seed, strata))

    return Evaluator(config.training.quality_freq, look, figures=("frechet",))


def check_limit(training: Any, independent: int, beside: np.ndarray) -> None:
    """Warn if too few samples are independent to extrapolate to infinitely many; refuse to select checkpoints by that limit then."""
    m, dimension = beside.shape
    if has_limit(independent, m, dimension):
        return
    number = training.quality_images
    on = "" if independent == number else f" on {independent} condition images"
    why = (
        f"training.quality_images={number}{on} and {m} real images, with features of {dimension} dimensions: the limit of the Frechet distance "
        f"for infinitely many images needs more than {4 * dimension} of each"
    )
    if training.keep_best and training.keep_best_by == "frechet_limit":
        raise ConfigError(f"{why}; use more, or set training.keep_best_by=frechet")
    say(
        f"{why}, so only the distance of {number} images is measured; it can be compared between steps"
    )
