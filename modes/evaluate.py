"""--mode evaluate: compare images with real ones: Frechet distance, KID, precision, recall and more, with errors."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_sde.configs.default import check_options
from score_sde.data.splits import Datasets
from score_sde.errors import ConfigError, UserError
from score_sde.evaluation.captions import agreement
from score_sde.evaluation.pictures import save_grid
from score_sde.features.classifier import CLASSIFIER
from score_sde.features.extractors import PIXELS, Extractor, check_features
from score_sde.files import user_path, write_whole
from score_sde.generation.conditions import labels_of_samples
from score_sde.generation.guides import classes_of_samples, sampled_classes
from score_sde.machine import check_memory
from score_sde.modes import sample
from score_sde.modes.evaluated_samples import (
    Evaluated,
    drawn,
    texts_evaluated,
)
from score_sde.modes.prior import say_signal_left
from score_sde.quality.assessment import (
    Assessment,
    Memory,
    assess,
    assess_beside_law,
    check_number,
    check_numbers,
    memory,
)
from score_sde.quality.classes import assess_classes, check_classes
from score_sde.quality.diversity import mean_distance
from score_sde.quality.estimate import Estimate
from score_sde.quality.image_sets import SPLITS, ImageSet, image_set
from score_sde.quality.inception_score import inception_score
from score_sde.quality.reference import (
    OfSplit,
    Reference,
    features_of,
    load_splits,
    open_reference,
)
from score_sde.quality.shared_pictures import check_apart
from score_sde.quality.strata import turns_in_words
from score_sde.quality.table import table, table_of_classes, with_intervals
from score_sde.results import listed, report
from score_sde.samplers.problem import Configured
from score_sde.sde_lib import SDE
from score_sde.training.changed_since import changed_since_training, in_data
from score_sde.training.trained_score import load_score_model
from score_sde.unfinished import all_hosts_meet, unused

SHOWN = 12  # pairs in the picture of nearest training images
# Matrices in memory at once, at least: both covariances, a square root and a product.
COVARIANCES = 4


def check(config: Any, sde: SDE) -> tuple[Configured, ...]:
    """Refuse a configuration that cannot be evaluated; return the sampler, as --mode sample does.

    Raises:
      UserError: states what was given, what was expected and what to do.
    """
    options = config.evaluation
    check_options(config)
    for field in ("images", "reference"):
        path = options[field]
        if path and path not in SPLITS and not user_path(path).exists():
            raise ConfigError(
                f"evaluation.{field}={path!r}: no such file or folder; give train, test, an .npz file with `images` (levels, as --mode "
                "sample writes them), or a folder of pictures"
            )
    if not options.reference:
        raise ConfigError("evaluation.reference is empty; give train, test, or a file or folder")
    if options.images == options.reference:
        raise ConfigError(
            f"evaluation.images={options.images!r} is also evaluation.reference: the two sets are identical, so every figure is trivial"
        )
    if options.per_class and not options.images and not sampled_classes(config):
        raise ConfigError(
            "evaluation.per_class=True of samples of a model that is not conditioned on classes: leave it out, or train one with model.num_classes, or guide it "
            "by a classifier"
        )
    check_features(config)
    return () if options.images else sample.check(config, sde)


def run(
    config: Any, sde: SDE, workdir: Path, configured: Configured | None = None
) -> dict[str, Any]:
    """Evaluate, or resume an interrupted evaluation; write <workdir>/evaluation, report and return the figures."""
    began, options = time.perf_counter(), config.evaluation
    splits = load_splits(config, workdir)
    opened = functools.partial(open_early, config, workdir, splits)
    unfinished = None
    if options.images:
        check_apart(config)
        images = image_set(config, splits, "images")
        extractor, of_split_kept, reference = opened(images.num_images, images.labels)
        evaluated = given(config, workdir, extractor, images, of_split_kept)
    else:
        if not config.sampling.start_images:
            say_signal_left(sde)
        loaded = load_score_model(config, sde, workdir)
        labels = functools.partial(labels_of_samples, config, classes_of_samples(config, workdir))
        extractor, of_split_kept, reference = opened(config.sampling.num_images, labels)
        evaluated, unfinished = drawn(config, sde, workdir, loaded, extractor, configured)
    x = evaluated.features.of_images
    found = assessed(config, evaluated, reference)
    classes, counts = of_classes(config, evaluated, reference)
    kept = None
    # Training images are their own nearest, and held-out images are those that others would be compared with.
    if options.images not in SPLITS and options.reference in SPLITS and has_held_out(splits):
        kept = memory(x, *(of_split_kept(name, options.num_reference).of_images for name in SPLITS))
    others = other_figures(config, extractor, evaluated, reference, kept)
    figures = {
        "mode": "evaluate",
        **options.to_dict(),
        "num_images": len(x),
        "num_reference": reference.num_images,
        "data": config.data.name,
        "seed": config.seed,
        **evaluated.recorded,
        **extractor.recorded,
        **with_intervals(found.figures | others),
    }
    if classes:
        figures["classes"] = {
            str(label): with_intervals(of.figures) for label, of in classes.items()
        }
    figures["seconds"] = time.perf_counter() - began
    if unfinished is not None:
        figures |= unfinished.of_all_commands(figures["seconds"])
    all_hosts_meet("evaluation")
    if jax.process_index() == 0:
        figures |= write(config, workdir, evaluated.images, splits, kept)
    below = {name: figures[name] for name in ("nfe", "seconds", "pairs") if name in figures}
    parts = [
        table(title(config, figures), figures, notes(config, figures, found, has_held_out(splits)))
    ]
    if classes:
        parts.append(table_of_classes(classes, counts, splits.class_names))
    report(workdir, figures, "\n\n".join([*parts, listed(below)]))
    if unfinished is not None:
        unfinished.remove()
    return figures


def has_held_out(splits: Datasets) -> bool:
    """Whether there are enough held-out images for a standard error of their distance to training images."""
    return splits.test.num_images > 1


def open_early(
    config: Any, workdir: Path, splits: Datasets, count: int, labels: Callable[[], np.ndarray]
) -> tuple[Extractor, OfSplit, Reference]:
    """Open extractor and reference; compute reference features once all checks for `count` images have passed."""
    extractor, _, of_split_kept, reference = open_reference(config, workdir, splits)
    refuse_early(config, extractor, reference, count, labels)
    if reference.law is None:
        _ = reference.features
    return extractor, of_split_kept, reference


def given(
    config: Any, workdir: Path, extractor: Extractor, images: ImageSet, of_split_kept: OfSplit
) -> Evaluated:
    """The images named by config.evaluation.images, with their features; the record of the images of the splits."""
    named = config.evaluation.images
    features = of_split_kept(named, 0) if named in SPLITS else features_of(extractor, images)
    changes = changed_since_training(config, workdir).items()
    return Evaluated(images, features, {name: of for name, of in changes if in_data(name)})


def refuse_early(
    config: Any,
    extractor: Extractor,
    reference: Reference,
    count: int,
    labels: Callable[[], np.ndarray],
) -> None:
    """Refuse too small a set before any images are sampled or embedded; call `labels` only if a metric needs them."""
    options, dimension = config.evaluation, extractor.dimension
    check_memory(
        f"the Frechet distance of features of {dimension} dimensions (evaluation.features={options.features}; take others)",
        COVARIANCES * 8 * dimension**2,
        0,
    )
    if reference.law is not None:
        check_number(count)
    else:
        check_numbers(count, reference.num_images, options.neighbours)
    if options.per_class:
        real, own = reference.labels(), labels()
        wanted = wanted_labels(config, own, real)
        check_classes(own, real, wanted, options.neighbours, extractor.dimension)


def wanted_labels(config: Any, *labels: np.ndarray) -> list[int]:
    """The classes to evaluate, of images with these labels and real ones: sampling.labels if given, else all that given images or samples have."""
    if config.evaluation.images and not config.sampling.labels:
        return np.unique(np.concatenate(labels)).tolist()
    return sorted(set(config.sampling.labels)) or np.unique(labels[0]).tolist()


def assessed(config: Any, evaluated: Evaluated, reference: Reference) -> Assessment:
    """All figures that can be computed with this reference."""
    x, strata = evaluated.features.of_images, evaluated.images.strata
    if reference.law is not None:
        return assess_beside_law(x, reference.law, config.seed, strata)
    both = (strata, reference.strata)
    return assess(x, reference.features, config.evaluation.neighbours, config.seed, both)


def of_classes(
    config: Any, evaluated: Evaluated, reference: Reference
) -> tuple[dict[int, Assessment], dict[int, tuple[int, int]]]:
    """Figures per class, and numbers of images and of real images per class; empty unless evaluation.per_class."""
    options = config.evaluation
    if not options.per_class:
        return {}, {}
    real, labels = reference.labels(), evaluated.images.labels()
    wanted = wanted_labels(config, labels, real)
    found = assess_classes(
        evaluated.features.of_images, labels, reference.features, real, wanted,
        options.neighbours, config.seed, evaluated.images.strata,
    )  # fmt: skip
    counts = {label: (int((labels == label).sum()), int((real == label).sum())) for label in wanted}
    return found, counts


def other_figures(
    config: Any,
    extractor: Extractor,
    evaluated: Evaluated,
    reference: Reference,
    kept: Memory | None,
) -> dict[str, Estimate]:
    """Figures that are available only with some features or references."""
    found = {} if kept is None else {"nearer_than_held_out": kept.auc}
    if evaluated.features.logits is not None:
        # The Inception score is computed on consecutive parts, and a folder or split may be sorted by class.
        logits = evaluated.features.logits
        order = np.random.default_rng(config.seed).permutation(len(logits))
        found["inception_score"] = inception_score(logits[order])
    texts = texts_evaluated(config) if config.data.name == "captions" else None
    if texts is not None:
        found |= agreement(evaluated.images.take(range(len(texts))), texts)
    if extractor.distance is not None:
        sets = {"lpips": evaluated.images, "lpips_real": reference.images}
        found |= {
            name: mean_distance(
                extractor.distance,
                images.take,
                images.num_images,
                np.random.default_rng(config.seed),
                name,
            )
            for name, images in sets.items()
            if images is not None
        }
    return found


def write(
    config: Any, workdir: Path, images: ImageSet, splits: Any, kept: Memory | None
) -> dict[str, str]:
    """Write the distances to training images, and a picture of the nearest pairs: image, training image, image, ..."""
    if kept is None:
        return {}
    stem = f"{config.evaluation.images or config.sampling.sampler}".rstrip("/").rpartition("/")[2]
    target = unused(workdir / "evaluation", f"nearest-{stem}-seed{config.seed}", ".npz")
    arrays = {"distance": kept.nearest.distance, "row": kept.nearest.row}
    write_whole(target, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    levels = config.data.num_levels
    if not levels:
        return {"nearest": str(target)}
    closest = np.argsort(kept.nearest.distance, kind="stable")[:SHOWN]
    train = splits.train.take(kept.nearest.row[closest]).images
    shown = images.take(closest)
    pairs = np.stack([shown, train], axis=1).reshape(-1, *shown.shape[1:])
    picture = target.with_suffix(".png")
    try:
        save_grid(picture, pairs, levels, 2 * max(1, SHOWN // 4))
    except UserError:
        target.unlink()  # no record will name it
        raise
    return {"nearest": str(target), "pairs": str(picture)}


def title(config: Any, figures: dict[str, Any]) -> str:
    """The heading of the table: which images, the reference and the features."""
    options = config.evaluation
    what = {"": f"samples of {config.sampling.sampler}"}.get(options.images, options.images)
    beside = (
        f"{figures['num_reference']} ({options.reference})"
        if figures["num_reference"]
        else options.reference
    )
    by = options.features
    if "features_accuracy" in figures:
        by += f" (which classifies {figures['features_accuracy']:.1%} of held-out images correctly)"
    return f"{figures['num_images']} images ({what}) beside {beside}, by {by}"


def notes(
    config: Any, figures: dict[str, Any], found: Assessment, held_out: bool = True
) -> list[str]:
    """Notes that a reader of the figures should know."""
    listed = list(found.notes)
    if "different_images" in figures:
        listed.append(turns_in_words(figures["num_images"], figures["different_images"]))
    if not held_out:
        listed.append(
            "the data have one held-out image, too few to say whether images are nearer to training images than new ones are"
        )
    if "nearer_than_held_out" in figures and config.evaluation.num_reference:
        listed.append(
            f"whether images are nearer to training images is measured with the first {config.evaluation.num_reference} images of each split "
            "(evaluation.num_reference): copies of other training images are not seen"
        )
    if "nearer_than_held_out" in figures and config.data.random_flip:
        listed.append(
            "training mirrors half of the images (data.random_flip), and images are compared with training images as they are stored: mirrored "
            "copies are not recognized, so a network that copies is below 1 in nearer_than_held_out"
        )
    if config.data.num_channels == 1 and config.evaluation.features not in (PIXELS, CLASSIFIER):
        listed.append(
            "the features are those of RGB images: grey ones are repeated to three channels"
        )
    if figures.get("features_is_public_file") is False:
        listed.append(
            f"the weights in {config.evaluation.features} differ from the public file: unless they are the same values saved again, these "
            "figures are not comparable with those of other programs"
        )
    return listed
