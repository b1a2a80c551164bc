"""--mode evaluate: how good images are, beside real ones: Frechet distance, KID, precision, recall and more, with errors."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from score_sde import data
from score_sde.configs.default import check_options
from score_sde.data.array_files import check_levels, read_images
from score_sde.errors import ConfigError
from score_sde.evaluation.pictures import save_grid
from score_sde.features.extractors import build_extractor, check_features
from score_sde.files import user_path, write_whole
from score_sde.generation.denoising_errors import optimal_variance
from score_sde.generation.generate import Generated, build_generator
from score_sde.generation.sampled_score import sampled_score
from score_sde.generation.start_images import load_start_images
from score_sde.modes import sample
from score_sde.quality.assessment import Assessment, Memory, assess, check_numbers, memory
from score_sde.quality.frechet import Estimate
from score_sde.quality.inception_score import inception_score
from score_sde.results import listed, report
from score_sde.samplers.configured import Configured, configure
from score_sde.sde_lib import SDE
from score_sde.spaces import build_space
from score_sde.training.trained_score import load_score_model
from score_sde.unfinished import UnfinishedFolder, all_hosts_meet, unused

SPLITS = ("train", "test")
SHOWN = 12  # pairs in the picture
CHUNK = 1024  # images read at once


class Evaluated(NamedTuple):
    """Images, (n, h, w, c) levels or real numbers, and what the record says of where they come from."""

    images: np.ndarray
    told: dict[str, Any]


def check(config: Any, sde: SDE) -> tuple[Configured, ...]:
    """Refuse what cannot be evaluated; gives the sampler, as --mode sample does.

    Raises:
      UserError: saying what was given, what was expected and what to do.
    """
    options = config.evaluation
    check_options(config)
    for field in ("images", "reference"):
        path = options[field]
        if path and path not in SPLITS and not user_path(path).is_file():
            raise ConfigError(
                f"evaluation.{field}={path!r}: no such file; give train, test, or an .npz file with `images` (levels, as --mode "
                "sample writes them)"
            )
    if not options.reference:
        raise ConfigError("evaluation.reference is empty; give train, test or an .npz file")
    if options.images == options.reference:
        raise ConfigError(
            f"evaluation.images={options.images!r} is evaluation.reference too: of equal sets every figure is known"
        )
    check_features(config)
    return () if options.images else sample.check(config, sde)


def run(
    config: Any, sde: SDE, workdir: Path, configured: Configured | None = None
) -> dict[str, Any]:
    """Evaluate, write <workdir>/evaluation, report the figures and return them; or go on where this command stopped."""
    began, options = time.perf_counter(), config.evaluation
    extractor = build_extractor(config)
    splits = data.load(config)
    real = named(config, splits, "reference")
    if options.num_reference:
        real = real[: options.num_reference]
    unfinished = None
    if options.images:
        evaluated = Evaluated(named(config, splits, "images"), {})
    else:  # refused now what would be refused after the samples
        check_numbers(config.sampling.num_images, len(real), options.neighbours)
        evaluated, unfinished = drawn(config, sde, workdir, configured)
    features, beside = extractor.extract(evaluated.images), extractor.extract(real)
    x, y = features.of_images, beside.of_images
    found = assess(x, y, options.neighbours, config.seed)
    kept = None
    if options.images != "train" and options.reference in SPLITS:
        known = (
            {options.reference: y}
            if len(y) == getattr(splits, options.reference).num_images
            else {}
        )
        known |= {options.images: x} if options.images in SPLITS else {}
        train, test = (
            known[name]
            if name in known
            else extractor.extract(every(getattr(splits, name))).of_images
            for name in SPLITS
        )
        kept = memory(x, train, test)
    scores = (
        {} if features.logits is None else {"inception_score": inception_score(features.logits)}
    )
    figures = {
        "mode": "evaluate",
        **options.to_dict(),
        "num_images": len(x),
        "num_reference": len(y),
        "data": config.data.name,
        "seed": config.seed,
        **evaluated.told,
        **extractor.told,
        **flat(found.figures | scores),
        **({} if kept is None else flat({"nearer_than_held_out": kept.auc})),
        "seconds": time.perf_counter() - began,
    }
    all_hosts_meet("evaluation")
    if jax.process_index() == 0:
        figures |= write(config, workdir, evaluated.images, splits, kept)
    if unfinished is not None:
        unfinished.remove()
    below = {name: figures[name] for name in ("nfe", "seconds", "pairs") if name in figures}
    report(workdir, figures, f"{table(config, figures, found)}\n\n{listed(below)}")
    return figures


def named(config: Any, splits: Any, field: str) -> np.ndarray:
    """The images of the split, or in the file, that this field of config.evaluation says."""
    given = config.evaluation[field]
    if given in SPLITS:
        return every(getattr(splits, given))
    what = f"evaluation.{field}"
    _, images = read_images(config, what, given)
    check_levels(config, f"{what}={given!r}", images)
    return images


def every(split: Any) -> np.ndarray:
    """All images of a split."""
    starts = range(0, split.num_images, CHUNK)
    ends = [min(start + CHUNK, split.num_images) for start in starts]
    parts = [
        split.take(np.arange(start, end)).images for start, end in zip(starts, ends, strict=True)
    ]
    return np.concatenate(parts)


def drawn(
    config: Any, sde: SDE, workdir: Path, configured: Configured | None
) -> tuple[Evaluated, UnfinishedFolder]:
    """Samples as --mode sample would draw them, kept batch by batch until the figures are written."""
    sampling, space = config.sampling, build_space(config)
    loaded = load_score_model(config, sde, workdir)
    model = sampled_score(config, sde, space, loaded.model)
    if configured is None:
        configured = configure(sampling, sde, optimal_variance(config, sde, loaded, workdir))
    start_images = load_start_images(config, space)
    generator = build_generator(config, sde, space.shape, start_images, configured)
    kept = UnfinishedFolder(workdir / "evaluation", sample.identity(config, workdir, loaded))

    def finish(batch: Generated) -> dict[str, np.ndarray]:
        return {"images": np.asarray(space.decode(jnp.asarray(batch.x))), "nfe": batch.nfe}

    batches = [*generator.stored_batches(model, sampling.num_images, config.seed, finish, kept)]
    images, nfe = (np.concatenate([batch[name] for batch in batches]) for name in ("images", "nfe"))
    told = {
        "sampler": sampling.sampler,
        "nfe": float(nfe.mean()),
        **loaded.told,
        "sde": config.sde.name,
        **configured.settings,
        **sample.told(config),
    }
    return Evaluated(images, told), kept


def flat(figures: dict[str, Estimate]) -> dict[str, float]:
    """A value and an error each."""
    return {
        key: number
        for name, figure in figures.items()
        for key, number in ((name, figure.value), (f"{name}_error", figure.error))
    }


def write(
    config: Any, workdir: Path, images: np.ndarray, splits: Any, kept: Memory | None
) -> dict[str, str]:
    """The distances to training images, and the nearest pairs as a picture: image, training image, image, ..."""
    if kept is None:
        return {}
    stem = f"{config.evaluation.images or config.sampling.sampler}".rpartition("/")[2]
    target = unused(workdir / "evaluation", f"nearest-{stem}-seed{config.seed}", ".npz")
    arrays = {"distance": kept.nearest.distance, "row": kept.nearest.row}
    write_whole(target, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    levels = config.data.num_levels
    if not levels:
        return {"nearest": str(target)}
    closest = np.argsort(kept.nearest.distance, kind="stable")[:SHOWN]
    train = splits.train.take(kept.nearest.row[closest]).images
    pairs = np.stack([images[closest], train], axis=1).reshape(-1, *images.shape[1:])
    picture = target.with_suffix(".png")
    save_grid(picture, pairs, levels, 2 * max(1, SHOWN // 4))
    return {"nearest": str(target), "pairs": str(picture)}


LINES = {
    "frechet": "Frechet distance",
    "frechet_limit": "  of infinitely many images",
    "kid": "KID",
    "inception_score": "Inception score",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "mind": "MIND",
    "nearer_than_held_out": "nearer to training images than held-out ones (1/2: nothing learnt by heart)",
}


def table(config: Any, figures: dict[str, Any], found: Assessment) -> str:
    """A line for each figure, with its error, and what should be known of them."""
    options = config.evaluation
    what = {"": f"samples of {config.sampling.sampler}"}.get(options.images, options.images)
    lines = [
        f"{figures['num_images']} images ({what}) beside {figures['num_reference']} ({options.reference}), by {options.features}",
        "",
    ]
    width = max(len(LINES[name]) for name in LINES if name in figures)
    lines += [
        f"{line:<{width}}  {figures[name]:>9.5g} +- {figures[f'{name}_error']:.2g}"
        for name, line in LINES.items()
        if name in figures
    ]
    notes = list(found.notes)
    if figures.get("features_is_public_file") is False:
        notes.append(
            f"the weights in {options.features} are not the public file's, to the bit: unless they are the same numbers saved again, "
            "these figures compare with none of other programs"
        )
    return "\n".join([*lines, *(f"note: {note}" for note in notes)])
