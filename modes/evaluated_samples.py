"""The samples of --mode evaluate: embedded as they are drawn, and stored in batches until the figures are written."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from score_sde import data
from score_sde.data.captions import WORDS
from score_sde.features.extractors import Extractor, Features
from score_sde.generation.conditions import (
    build_labels_and_texts,
    different_images,
    labels_of_samples,
)
from score_sde.generation.denoising_errors import optimal_variance
from score_sde.generation.generate import Generated, StartImages, build_generator
from score_sde.generation.guides import classes_of_samples, load_guides
from score_sde.generation.sampled_score import sampled_score
from score_sde.generation.start_images import load_start_images
from score_sde.models.networks import condition_names
from score_sde.modes import sample
from score_sde.progress import say
from score_sde.quality.image_sets import SPLITS, ImageSet
from score_sde.quality.strata import Strata, strata_in_turn, strata_of
from score_sde.samplers.configured import configure
from score_sde.samplers.problem import Configured
from score_sde.sde_lib import SDE
from score_sde.spaces import build_space
from score_sde.training.trained_score import LoadedScore
from score_sde.unfinished import UnfinishedFolder, all_hosts_meet


class Evaluated(NamedTuple):
    """Images with their features, and the record of how they were made."""

    images: ImageSet
    features: Features
    recorded: dict[str, Any]


def drawn(
    config: Any,
    sde: SDE,
    workdir: Path,
    loaded: LoadedScore,
    extractor: Extractor,
    configured: Configured | None,
) -> tuple[Evaluated, UnfinishedFolder]:
    """Draw the samples of --mode sample, with their features, and store them in batches until the figures are written."""
    sampling, space = config.sampling, build_space(config)
    guides = load_guides(config, sde, workdir)
    model = sampled_score(config, sde, space, loaded.model, guides)
    if configured is None:
        configured = configure(sampling, sde, optimal_variance(config, sde, loaded, workdir))
    if configured.note:
        say(configured.note)
    classes = classes_of_samples(config, workdir)
    start_images = load_start_images(config, space, classes)
    generator = build_generator(config, sde, space.shape, start_images, configured, classes)
    depends_on = {**sample.identity(config, workdir, loaded), **extractor.convention}
    store = UnfinishedFolder(workdir / "evaluation", depends_on)

    def finish(batch: Generated) -> dict[str, np.ndarray]:
        images = np.asarray(space.decode(jnp.asarray(batch.x)))
        found = extractor.extract(images, show=False)
        logits = {} if found.logits is None else {"logits": found.logits}
        return {"images": images, "features": found.of_images, "nfe": batch.nfe, **logits}

    count = sampling.num_images
    features, nfe, logits = np.empty((count, extractor.dimension), np.float32), [], []
    start = 0
    for batch in generator.stored_batches(model, count, config.seed, finish, store):
        end = start + len(batch["nfe"])
        features[start:end], start = batch["features"], end
        nfe.append(batch["nfe"])
        logits += [batch["logits"]] if "logits" in batch else []
    # The first host may still be writing batches that the others are about to read.
    all_hosts_meet("samples")

    def take(rows: Any) -> np.ndarray:
        """The images with these indices, from the batches on disk, each read once."""
        numbers, places = np.divmod(np.asarray(rows), sampling.batch_size)
        order = np.argsort(numbers, kind="stable")
        parts = [
            store.read(int(number))["images"][places[order][numbers[order] == number]]
            for number in np.unique(numbers)
        ]
        return np.concatenate(parts)[np.argsort(order)]

    recorded = {
        "sampler": sampling.sampler,
        "nfe": float(np.concatenate(nfe).mean()),
        **loaded.recorded,
        "sde": config.sde.name,
        **configured.settings,
        "one_by_one": sampling.one_by_one,
        "truncate": sampling.truncate,
        **sample.recorded(config),
    }
    number = reused(config, classes, start_images)
    if number:
        recorded["different_images"] = number
    labels = functools.partial(labels_of_samples, config, classes)
    told = functools.partial(told_to_samples, config, classes)
    images = ImageSet(count, take, labels, told, number)
    return Evaluated(
        images, Features(features, np.concatenate(logits) if logits else None), recorded
    ), store


def reused(
    config: Any, classes: Sequence[str] = (), start_images: StartImages | None = None
) -> int:
    """The number of images that samples are conditioned on or start from in turn, if there are fewer than samples; else 0."""
    numbers = (different_images(config, classes), len(start_images.x) if start_images else 0)
    return min((n for n in numbers if 0 < n < config.sampling.num_images), default=0)


def strata_of_samples(config: Any, number: int, classes: Sequence[str] = ()) -> Strata:
    """The strata of samples that take `number` images in turn; for 0, their classes and texts if all are equally frequent, else None."""
    if number:
        return strata_in_turn(config.sampling.num_images, number)
    return strata_of(told_to_samples(config, classes))


def told_to_samples(config: Any, classes: Sequence[str] = ()) -> np.ndarray | None:
    """Index (n,) of the class, text or pair of both that each sample is conditioned on; None for unconditional samples."""
    indices = np.arange(config.sampling.num_images)
    conditions = dict(build_labels_and_texts(config, classes)(indices))
    parts = [
        np.reshape(conditions[name], (len(indices), -1))
        for name in ("label", "text")
        if name in conditions
    ]
    if not parts:
        return None
    return np.unique(np.hstack(parts), axis=0, return_inverse=True)[1].reshape(-1)


def texts_evaluated(config: Any) -> np.ndarray | None:
    """The texts of the evaluated images as word indices (n, l) of data/text.py; None if they have no texts.

    Samples have the text that they are conditioned on, images of a split their own, whatever the words of the network.
    """
    images = config.evaluation.images
    if images in SPLITS:
        config = config.copy_and_resolve_references()
        config.model.words = " ".join(WORDS)
        return getattr(data.load(config, ("text",)), images).condition["text"]
    if images or "text" not in condition_names(config):
        return None
    return build_labels_and_texts(config)(np.arange(config.sampling.num_images))["text"]
