"""--mode sample: images from a trained network or an exact score, as a picture and as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.configs.default import check_options
from score_sde.data.mixture import mixture_parameters
from score_sde.data.scaling import to_levels, to_levels_truncated, unscale
from score_sde.errors import ConfigError
from score_sde.evaluation.known_law import dkw_band, ks_distance, mixture_cdf
from score_sde.evaluation.pictures import save_grid
from score_sde.generation.batches import check_batch_size
from score_sde.generation.denoising_errors import optimal_variance, stand_in
from score_sde.generation.generate import build_generator
from score_sde.generation.start_images import check_start_images, load_start_images
from score_sde.generation.trajectory import Trajectory, trajectory
from score_sde.models.parameterization import refuse_discrete
from score_sde.models.score import OneByOne
from score_sde.models.thresholding import DynamicThreshold, StaticThreshold, ThresholdedScore
from score_sde.results import report
from score_sde.samplers.configured import configure
from score_sde.sde_lib import SDE, build_sde, expand
from score_sde.training.trained_score import EXACT, check_score_model, load_score_model

PICTURE_IMAGES = 100  # at most so many of the samples go into the picture
PATH_FRAMES = 11  # times at which a path is kept, both ends included


def check(config: Any, sde: SDE) -> None:
    """Refuse what cannot be sampled.

    Raises:
      UserError: saying what was given, what was expected and what to do.
    """
    check_options(config)
    check_score_model(config, sde)
    sampling = config.sampling
    sde.check_time("sampling.eps", sampling.eps)
    check_batch_size(sampling.batch_size, "sampling.batch_size")
    check_start_images(sampling)
    if sampling.threshold != "none" and not config.data.num_levels:
        raise ConfigError(
            f"sampling.threshold={sampling.threshold!r} with data.num_levels=0: such data have no range to keep to; "
            "set threshold='none'"
        )
    if configure(sampling, sde, stand_in(config, sde)).any_time:
        refuse_discrete(config, sde, f"sampling.sampler={sampling.sampler!r}")


def settings(config: Any) -> dict[str, Any]:
    """The settings that the sampler in use depends on."""
    sde = build_sde(config)
    return {
        **configure(config.sampling, sde, stand_in(config, sde)).settings,
        "one_by_one": config.sampling.one_by_one,
        "truncate": config.sampling.truncate,
        "batch_size": config.sampling.batch_size,
        "seed": config.seed,
    }


def run(config: Any, sde: SDE, workdir: Path) -> dict[str, Any]:
    """Sample, write <workdir>/samples/*.png and *.npz, report the figures and return them."""
    loaded = load_score_model(config, sde, workdir)
    start_images = load_start_images(config)
    side, channels = config.data.image_size, config.data.num_channels
    shape = (side, side, channels)
    variance = optimal_variance(config, sde, loaded, workdir)
    configured = configure(config.sampling, sde, variance)
    model = as_asked(config, sde, loaded.model)
    generate = build_generator(config, sde, shape, start_images, variance)
    generated = generate(model, config.sampling.num_images, config.seed)

    figures: dict[str, Any] = {
        "mode": "sample",
        "sampler": config.sampling.sampler,
        "num_images": config.sampling.num_images,
        "nfe": generated.nfe,
        "seconds": generated.seconds,
        "checkpoint_step": loaded.checkpoint_step,
        "sde": config.sde.name,
        **settings(config),
    }
    if config.model.name == EXACT:
        figures |= distance_to_law(config, generated.x)
    if jax.process_index() == 0:
        figures |= write(config, workdir, generated.x, loaded.checkpoint_step)
        if config.sampling.path_images:
            path = trajectory(
                configured,
                sde,
                model,
                shape,
                path_images(config),
                config.seed,
                PATH_FRAMES,
                start_images,
            )
            figures |= write_path(config, sde, path, Path(figures["arrays"]))
    report(workdir, figures)
    return figures


def distance_to_law(config: Any, x: np.ndarray) -> dict[str, float]:
    """The Kolmogorov-Smirnov distance of all coordinates to the data's mixture, and the band it should keep."""
    coordinates = np.sort(
        np.asarray(unscale(jnp.asarray(x), config.data.centered), np.float64).ravel()
    )
    return {
        "ks_distance": ks_distance(mixture_cdf(coordinates, *mixture_parameters(config.data))),
        "ks_band": dkw_band(len(coordinates)),
    }


def write(config: Any, workdir: Path, x: np.ndarray, step: int | None) -> dict[str, str]:
    """The arrays, and for images of levels the picture. Returns where they went."""
    data = config.data
    folder = workdir / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{config.sampling.sampler}-step{step or 0}-seed{config.seed}"
    arrays = unused(folder, stem, ".npz")
    if not data.num_levels:
        np.savez(arrays, images=np.asarray(unscale(jnp.asarray(x), data.centered)))
        return {"arrays": str(arrays)}
    images = np.asarray(levels(config, jnp.asarray(x)))
    np.savez(arrays, images=images)
    picture = arrays.with_suffix(".png")
    save_grid(picture, images[:PICTURE_IMAGES], data.num_levels)
    return {"arrays": str(arrays), "picture": str(picture)}


def path_images(config: Any) -> int:
    return min(config.sampling.path_images, config.sampling.num_images)


def as_asked(config: Any, sde: SDE, model: Any) -> Any:
    """The score model as sampling asks it: one image at a time, and within the data's range, if the config says so."""
    return thresholded(config, sde, OneByOne(model) if config.sampling.one_by_one else model)


def thresholded(config: Any, sde: SDE, model: Any) -> Any:
    """The score model, its expected images kept in the data's range as sampling.threshold says."""
    low = -1.0 if config.data.centered else 0.0
    quantile = config.sampling.threshold_quantile
    threshold = {
        "none": lambda: None,
        "static": lambda: StaticThreshold(low, 1.0),
        "dynamic": lambda: DynamicThreshold(low, 1.0, quantile),
    }[config.sampling.threshold]()
    return model if threshold is None else ThresholdedScore(model, sde, threshold)


def write_path(config: Any, sde: SDE, path: Trajectory, arrays: Path) -> dict[str, str]:
    """The first images on their way, beside the samples: states and times, and for images a picture of them.

    The picture shows x_t / sqrt(alpha^2 + sigma^2), which keeps the contrast of any process's noise on the scale of
    the data's.
    """
    target = arrays.with_name(arrays.stem + "-path.npz")
    np.savez(target, states=path.x, times=path.times)
    if not config.data.num_levels:
        return {"path": str(target)}
    times = jnp.asarray(path.times)
    centre = 0.0 if config.data.centered else 0.5
    states = jnp.asarray(path.x)
    alpha, sigma = (expand(f(times), states) for f in (sde.alpha, sde.sigma))
    x = centre + (states - alpha * centre) / jnp.sqrt(alpha**2 + sigma**2)
    shown = jnp.swapaxes(x, 0, 1).reshape(-1, *states.shape[2:])
    picture = target.with_suffix(".png")
    save_grid(picture, np.asarray(levels(config, shown)), config.data.num_levels, len(times))
    return {"path": str(target), "path_picture": str(picture)}


def levels(config: Any, x: jax.Array) -> jax.Array:
    """The integer images (n, h, w, c) that samples of the process stand for."""
    data = config.data
    if config.sampling.truncate:
        return to_levels_truncated(x, data.num_levels, data.centered)
    return to_levels(x, data.num_levels, data.centered, data.uniform_dequantization)


def unused(folder: Path, stem: str, suffix: str) -> Path:
    """A file name that no earlier result has: nothing is written over."""
    path, n = folder / f"{stem}{suffix}", 2
    while path.exists():
        path, n = folder / f"{stem}-{n}{suffix}", n + 1
    return path
