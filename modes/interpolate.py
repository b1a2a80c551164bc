"""--mode interpolate: encode pairs of images by the probability-flow ODE, interpolate their latents, and decode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde import data
from score_sde.configs.default import check_options
from score_sde.errors import ConfigError, UserError
from score_sde.evaluation.pictures import save_grid
from score_sde.files import write_whole
from score_sde.generation.denoising_errors import optimal_variance, stand_in
from score_sde.generation.guided import beside_weight, is_guided
from score_sde.generation.latents import check_whole, decode, encode, slerp
from score_sde.generation.sampled_score import check_rounding
from score_sde.models.networks import check_no_class
from score_sde.models.parameterization import refuse_discrete
from score_sde.progress import progress_bar, say
from score_sde.results import report
from score_sde.samplers.configured import configure, needs_errors
from score_sde.samplers.problem import Configured
from score_sde.samplers.record import Sampler, Samples
from score_sde.sde_lib import SDE
from score_sde.spaces import build_space
from score_sde.training.known_classes import known_classes
from score_sde.training.same_data import check_same_data
from score_sde.training.trained_score import check_score_model, load_score_model
from score_sde.unfinished import unused


def check(config: Any, sde: SDE) -> tuple[Configured, ...]:
    """Refuse what the ODE cannot encode and decode; return the sampler if it can be built without denoising errors.

    Raises:
      UserError: states what was given, what was expected and what to do.
    """
    check_options(config)
    check_score_model(config, sde)
    if config.sampling.sampler != "ode":
        raise ConfigError(
            f"sampling.sampler={config.sampling.sampler!r} with --mode interpolate: only the probability-flow ODE "
            "gives an image a latent; leave --sampler out, or set --sampler ode"
        )
    guided = is_guided(config.sampling) or beside_weight(config.sampling)
    if config.sampling.labels or config.sampling.text or guided:
        raise ConfigError(
            "sampling.labels, sampling.text or sampling.guidance with --mode interpolate: interpolation is unconditional, since the two "
            "images can be of different classes; leave them out"
        )
    check_whole(config.sampling, "--mode interpolate")
    check_rounding(config)
    check_no_class(config, "--mode interpolate")
    sde.check_time("sampling.eps", config.sampling.eps)
    configured = configure(config.sampling, sde, stand_in(config, sde), whole=True)
    refuse_discrete(config, sde, "the probability-flow ODE")
    return () if needs_errors(config.sampling) else (configured,)


def interpolate(
    sampler: Sampler, grid: Array, model: Any, pair: Array, frames: int
) -> tuple[Array, Samples, Samples]:
    """Images (frames, h, w, c) from the first of a pair to the second, and the results of encoding and decoding.

    The first and last frame are the pair itself, encoded and decoded.
    """
    up = encode(sampler, grid, model, pair)
    weights = jnp.linspace(0.0, 1.0, frames)
    latents = jax.vmap(lambda weight: slerp(up.x[0], up.x[1], weight))(weights)
    down = decode(sampler, grid, model, latents)
    return down.x, up, down


def run(
    config: Any, sde: SDE, workdir: Path, configured: Configured | None = None
) -> dict[str, Any]:
    """Interpolate, write <workdir>/interpolation/*.png and *.npz, and report and return the figures."""
    options = config.interpolation
    loaded = load_score_model(config, sde, workdir)
    if configured is None:
        variance = optimal_variance(config, sde, loaded, workdir)
        configured = configure(config.sampling, sde, variance, whole=True)
    if configured.note:
        say(configured.note)
    sampler, grid = configured.sampler, configured.grid
    x = chosen_images(config, known_classes(config, workdir))
    solve = jax.jit(lambda model, pair: interpolate(sampler, grid, model, pair, options.frames))
    rows, evaluations = [], []
    with progress_bar(len(x) // 2, "interpolating", "pair") as bar:
        for pair in x.reshape(-1, 2, *x.shape[1:]):
            frames, up, down = jax.block_until_ready(solve(loaded.model, jnp.asarray(pair)))
            if not (np.all(up.success) and np.all(down.success) and np.isfinite(frames).all()):
                raise UserError(
                    "an image could not be encoded and decoded by the ODE; try looser tolerances, more steps or a "
                    "larger sampling.eps"
                )
            rows.append(np.asarray(frames))
            evaluations.append([np.mean(up.nfe), np.mean(down.nfe)])
            bar.update(1)
    ends = np.concatenate([row[[0, -1]] for row in rows])
    figures: dict[str, Any] = {
        "mode": "interpolate",
        "num_pairs": len(rows),
        "frames": options.frames,
        "round_trip_rms": float(np.sqrt(np.mean((ends - x) ** 2))),
        "nfe_encode": float(np.mean(evaluations, axis=0)[0]),
        "nfe_decode": float(np.mean(evaluations, axis=0)[1]),
        **loaded.recorded,
        "sde": config.sde.name,
        "split": options.split,
        **{k: v for k, v in configured.settings.items() if k not in ("noise_removal", "threshold")},
    }
    if jax.process_index() == 0:
        figures |= write(config, workdir, x, np.stack(rows), loaded.name)
    report(workdir, figures)
    return figures


def chosen_images(config: Any, classes: Sequence[str] = ()) -> np.ndarray:
    """The images of interpolation.images in the units of the process, (2 pairs, h, w, c); data.label indexes `classes`."""
    options = config.interpolation
    datasets = data.load(config, classes=classes)
    check_same_data(datasets)
    split = getattr(datasets, options.split)
    if max(options.images) >= split.num_images:
        raise UserError(
            f"interpolation.images={tuple(options.images)}: the {options.split} split of {config.data.name} has {split.num_images} images, "
            f"with indices up to {split.num_images - 1}"
        )
    images = jnp.asarray(split.take(list(options.images)).images)
    return np.asarray(build_space(config).encode_middle(images), np.float32)


def write(
    config: Any, workdir: Path, x: np.ndarray, rows: np.ndarray, weights: str
) -> dict[str, str]:
    """Write the frames (pairs, frames, h, w, c) as arrays and as a picture with rows of first image, frames, second image."""
    folder = workdir / "interpolation"
    arrays = unused(folder, f"{config.interpolation.split}-{weights}", ".npz")
    write_whole(arrays, lambda file: np.savez(file, frames=rows, originals=x))
    if not config.data.num_levels:
        return {"arrays": str(arrays)}
    shown = np.concatenate([x[0::2, None], rows, x[1::2, None]], axis=1)
    space = build_space(config)
    pictures = np.asarray(space.decode(jnp.asarray(shown.reshape(-1, *x.shape[1:]))))
    picture = arrays.with_suffix(".png")
    save_grid(picture, pictures, config.data.num_levels, shown.shape[1])
    return {"arrays": str(arrays), "picture": str(picture)}
