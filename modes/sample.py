"""--mode sample: draw images from a trained network or an exact score, and write them as a picture and as files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL.Image import Image

from score_sde.configs.default import check_options
from score_sde.data.array_files import NUM_LEVELS
from score_sde.data.mixture import mixture_parameters
from score_sde.devices import check_batch
from score_sde.evaluation.pictures import save_grid
from score_sde.files import write_whole
from score_sde.generation.condition_images import ages_of_condition_images
from score_sde.generation.conditions import build_conditions, labels_of_samples
from score_sde.generation.denoising_errors import optimal_variance, stand_in
from score_sde.generation.generate import Generated, build_generator
from score_sde.generation.guided import beside_weight, is_guided
from score_sde.generation.guides import (
    ages_of,
    classes_in_turn,
    classes_of_samples,
    load_guides,
    sampled_classes,
)
from score_sde.generation.sample_files import CLASS_NAMES, IMAGES, LABELS, SAVES, check_save
from score_sde.generation.sampled_score import check_sampled_score, sampled_score
from score_sde.generation.start_conditions import own_of_start_images
from score_sde.generation.start_images import check_start_images, load_start_images
from score_sde.generation.trajectory import Trajectory, trajectory
from score_sde.models.networks import condition_names, has_condition_image
from score_sde.models.parameterization import refuse_discrete
from score_sde.models.score import bind
from score_sde.modes.prior import say_signal_left
from score_sde.options import choose
from score_sde.progress import say
from score_sde.quality.image_sets import known_by
from score_sde.results import report
from score_sde.samplers.configured import configure, needs_errors
from score_sde.samplers.problem import Configured
from score_sde.sde_lib import SDE, expand
from score_sde.spaces import Space, build_space
from score_sde.training.adapters import ages_of_adapters
from score_sde.training.checkpoints import checkpoint_folder
from score_sde.training.kept_averages import averages_folder
from score_sde.training.known_classes import known_classes
from score_sde.training.recorded_config import as_json
from score_sde.training.recorded_mask import mask_of
from score_sde.training.trained_score import (
    EXACT,
    LoadedScore,
    check_score_model,
    load_score_model,
)
from score_sde.unfinished import all_hosts_meet, newest_file

PICTURE_IMAGES = 100  # samples in the picture, at most
PATH_FRAMES = 11  # times at which trajectories are stored, both ends included


def check(config: Any, sde: SDE) -> tuple[Configured, ...]:
    """Refuse a configuration that cannot be sampled; return the sampler if it can be built without denoising errors.

    Raises:
      UserError: states what was given, what was expected and what to do.
    """
    check_options(config)
    check_score_model(config, sde, to_sample=True)
    return check_sampling(config, sde)


def check_sampling(config: Any, sde: SDE) -> tuple[Configured, ...]:
    """As `check`, for a config whose network has been checked already."""
    sampling = config.sampling
    sde.check_time("sampling.eps", sampling.eps)
    check_batch(config, "sampling.batch_size")
    check_start_images(sampling)
    check_sampled_score(config, sde, build_space(config))
    build_conditions(config)
    choose("sampling.save", sampling.save, SAVES)
    check_save(sampling.save, config.data.num_levels, config.data.num_channels)
    configured = configure(sampling, sde, stand_in(config, sde))
    if configured.any_time:
        refuse_discrete(config, sde, f"sampling.sampler={sampling.sampler!r}")
    return () if needs_errors(sampling) else (configured,)


def run(
    config: Any, sde: SDE, workdir: Path, configured: Configured | None = None
) -> dict[str, Any]:
    """Sample, or resume interrupted sampling; write <workdir>/samples, report and return the figures."""
    began, sampling = time.perf_counter(), config.sampling
    if not sampling.start_images:
        say_signal_left(sde)
    loaded, space = load_score_model(config, sde, workdir), build_space(config)
    guides = load_guides(config, sde, workdir)
    model = sampled_score(config, sde, space, loaded.model, guides)
    classes = classes_of_samples(config, workdir)
    start_images = load_start_images(config, space, classes)
    if configured is None:
        configured = configure(sampling, sde, optimal_variance(config, sde, loaded, workdir))
    if configured.note:
        say(configured.note)
    generator = build_generator(config, sde, space.shape, start_images, configured, classes)
    folder = workdir / "samples"
    files = SAVES[sampling.save](folder, identity(config, workdir, loaded), space.num_levels)

    def finish(batch: Generated) -> dict[str, np.ndarray]:
        images = np.asarray(space.decode(jnp.asarray(batch.x)))
        return {IMAGES: images, "nfe": batch.nfe}

    nfe: list[np.ndarray] = []
    shown: list[np.ndarray] = []
    for batch in generator.stored_batches(model, sampling.num_images, config.seed, finish, files):
        shown.extend(batch[IMAGES][: PICTURE_IMAGES - len(shown)])
        nfe.append(batch["nfe"])
    figures: dict[str, Any] = {
        "mode": "sample",
        "sampler": sampling.sampler,
        "num_images": sampling.num_images,
        "nfe": float(np.concatenate(nfe).mean()),
        "seconds": time.perf_counter() - began,
        **loaded.recorded,
        "sde": config.sde.name,
        **configured.settings,
        "one_by_one": sampling.one_by_one,
        "truncate": sampling.truncate,
        "batch_size": sampling.batch_size,
        "seed": config.seed,
        **recorded(config),
    }
    figures |= files.of_all_commands(figures["seconds"])
    # Stored so that --mode evaluate knows the class of each image when these files are its evaluation.images.
    of_all = {LABELS: labels_of_samples(config, classes)} if sampled_classes(config) else {}
    if of_all and classes:
        of_all[CLASS_NAMES] = np.asarray(classes)
    if space.num_levels is not None:
        of_all[NUM_LEVELS] = np.asarray(space.num_levels)
    all_hosts_meet("samples")
    if jax.process_index() == 0:
        path = None
        # Before files.finish: if it fails, the batches are kept for the next command.
        if sampling.path_images:
            count = min(sampling.path_images, sampling.num_images)
            # Uses this host's own copies, as the other hosts do not take part.
            model = bind(jax.device_get(model), generator.conditions(np.arange(count)))
            path = trajectory(
                configured, sde, model, space.shape, count, config.seed, PATH_FRAMES, start_images
            )
        stem = f"{sampling.sampler}-{loaded.name}-seed{config.seed}"
        written = files.finish(folder, stem, len(nfe), **of_all)
        figures["arrays" if written.is_file() else "folder"] = str(written)
        if config.model.name == EXACT:
            figures |= distance_to_law(config, written)
        if space.num_levels is not None:
            picture = written.with_name(f"{written.name.removesuffix('.npz')}.png")
            save_picture(config, picture, np.stack(shown), space.num_levels, classes)
            figures["picture"] = str(picture)
        if path is not None:
            figures |= write_path(sde, space, path, written)
    report(workdir, figures)
    return figures


def recorded(config: Any) -> dict[str, Any]:
    """The record of conditions and guidance; empty for a model that has neither."""
    sampling, classes = config.sampling, sampled_classes(config)
    unnamed = "own" if own_of_start_images(config) else "all"
    images: dict[str, Any] = {}  # and texts
    if has_condition_image(config):
        images = {name: config.condition[name] for name in ("images", "cascade", "noise")}
        images = {f"condition_{name}": of for name, of in images.items()}
    if "text" in condition_names(config):
        images["text"] = sampling.text or unnamed
    if not (classes or is_guided(sampling)):
        return images
    weight = sampling.guidance.weight
    return {
        **images,
        **({"labels": list(sampling.labels) or unnamed} if classes else {}),
        "guidance_weight": weight,
        "guidance_scale": 1.0 + weight,  # the convention of other codes
        **{f"guidance_{name}": value for name, value in beside_weight(sampling).items()},
    }


def identity(config: Any, workdir: Path, loaded: LoadedScore) -> dict[str, Any]:
    """Everything that the samples depend on, so that only the same command resumes them."""
    settings, classes = as_json(config), known_classes(config, workdir)
    return {
        **loaded.recorded,
        "checkpoints": newest_file(checkpoint_folder(workdir)),
        "averages": newest_file(averages_folder(workdir)),
        "adapter_files": ages_of_adapters(config),
        "guides": ages_of(config, workdir),
        "start_images": known_by(
            config, config.sampling.start_images, own_of_start_images(config), classes
        ),
        "devices": jax.device_count(),
        **ages_of_condition_images(config, classes),
        **mask_of(config),
        **{
            part: settings[part]
            for part in ("seed", "sde", "data", "model", "condition", "sampling")
        },
    }


def distance_to_law(config: Any, arrays: Path) -> dict[str, float]:
    """Kolmogorov-Smirnov distance of all coordinates to the mixture of the data, and the confidence band for it."""
    # Imported here because it imports SciPy, which sampling from a network does not need.
    from score_sde.evaluation.known_law import dkw_band, ks_distance, mixture_cdf

    with np.load(arrays) as file:
        coordinates = np.sort(file[IMAGES].astype(np.float64).ravel())
    return {
        "ks_distance": ks_distance(mixture_cdf(coordinates, *mixture_parameters(config.data))),
        "ks_band": dkw_band(len(coordinates)),
    }


def save_picture(
    config: Any, path: Path, images: np.ndarray, num_levels: int, classes: Sequence[str] = ()
) -> Image:
    """Save the first images as a grid, with a row per class if classes take turns; return the picture."""
    num_classes = classes_in_turn(config, classes)
    own = has_condition_image(config) or own_of_start_images(config)
    in_turn = num_classes and not config.sampling.labels and not own
    if not in_turn or len(images) < num_classes:
        return save_grid(path, images, num_levels)
    columns = len(images) // num_classes
    turns = images[: columns * num_classes].reshape(columns, num_classes, *images.shape[1:])
    rows = turns.swapaxes(0, 1).reshape(-1, *images.shape[1:])
    return save_grid(path, rows, num_levels, columns)


def write_path(sde: SDE, space: Space, path: Trajectory, beside: Path) -> dict[str, str]:
    """Write the trajectories of the first images next to the samples: states and times, and for images a picture.

    The picture shows x_t / sqrt(alpha^2 + sigma^2), so that noise of any process has a contrast comparable to that of the data.
    """
    target = beside.with_name(f"{beside.name.removesuffix('.npz')}-path.npz")
    write_whole(target, lambda file: np.savez(file, states=path.x, times=path.times))
    if space.range is None or space.num_levels is None:
        return {"path": str(target)}
    times, states, centre = jnp.asarray(path.times), jnp.asarray(path.x), sum(space.range) / 2
    alpha, sigma = (expand(f(times), states) for f in (sde.alpha, sde.sigma))
    x = centre + (states - alpha * centre) / jnp.sqrt(alpha**2 + sigma**2)
    shown = jnp.swapaxes(x, 0, 1).reshape(-1, *states.shape[2:])
    picture = target.with_suffix(".png")
    save_grid(picture, np.asarray(space.decode(shown)), space.num_levels, len(times))
    return {"path": str(target), "path_picture": str(picture)}
