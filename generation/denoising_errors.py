"""The denoising error of a score model at each noise level, estimated once per checkpoint and kept in its folder.

Ancestral sampling with the optimal variance and the grid "dp" are built from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde import data
from score_sde.data import Datasets
from score_sde.data.fingerprint import hash_of_some
from score_sde.data.splits import Split
from score_sde.devices import of_first_host
from score_sde.errors import UserError
from score_sde.evaluation.score_norms import ScoreNorms, score_norms
from score_sde.generation.guided import is_guided
from score_sde.keys import seed_key
from score_sde.measurements.condition_image import build_condition_image
from score_sde.models.networks import conditions_of
from score_sde.progress import progress_bar, say
from score_sde.samplers.configured import needs_errors
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.optimal_variance import OptimalVariance
from score_sde.sde_lib import SDE
from score_sde.spaces import Space, build_space
from score_sde.training.known_weights import hash_of_weights
from score_sde.training.recorded_config import as_json, recorded_classes
from score_sde.training.recorded_mask import mask_of
from score_sde.training.trained_score import LoadedScore
from score_sde.unfinished import digest_of

SEED = 0
"""Seed of the noise: the stored errors do not depend on which command needed them first."""


def error_times(config: Any, sde: SDE) -> np.ndarray:
    """The times of the noise levels, at equal steps of the log-SNR, increasing from sampling.eps to the end of the signal."""
    count = config.sampling.errors.num_times
    return np.asarray(
        log_snr_grid(sde, sde.signal_end, config.sampling.eps, count - 1), np.float64
    )[::-1]


def half_range(space: Space) -> float:
    """Half the range of the data in the units of the process; infinite for unbounded data."""
    return math.inf if space.range is None else (space.range[1] - space.range[0]) / 2


def stand_in(config: Any, sde: SDE) -> OptimalVariance:
    """Placeholder errors for checks without a model: whether a sampler can be built does not depend on them."""
    return OptimalVariance(
        (config.sampling.eps, sde.signal_end), (0.5, 0.5), half_range(build_space(config))
    )


def optimal_variance(
    config: Any, sde: SDE, loaded: LoadedScore, workdir: Path
) -> OptimalVariance | None:
    """The denoising errors of this score model, for `configure`; None if the sampler does not need them.

    Raises:
      UserError: no data to estimate from, or a damaged file of stored errors.
    """
    if not needs_errors(config.sampling):
        return None
    if is_guided(config.sampling) or config.sampling.threshold != "none":
        say(
            "note: the denoising errors are those of the network without the guidance and threshold used here, so the variance or "
            "time grid computed from them is not optimal"
        )
    step, classes = loaded.checkpoint_step or 0, recorded_classes(workdir)
    datasets = data.load(config, conditions_of(config), classes=classes)
    # The name of adapters does not identify their weights, so their errors are estimated each time.
    kept = not loaded.adapters
    known = digest_of(identity(config, sde, loaded, datasets)) if kept else ""
    path = workdir / f"denoising_errors-{loaded.name}-{known}.npz"
    if kept and of_first_host(path.exists()):
        try:
            norms = ScoreNorms.load(path, sde, step, sde.signal_end, config.sampling.eps)
        except ValueError as error:
            raise UserError(f"{error}: remove the file") from error
    else:
        norms = estimate(config, sde, loaded, step, datasets.train)
        if kept and jax.process_index() == 0:
            norms.save(path)
    return OptimalVariance(
        tuple(norms.times.tolist()), tuple(norms.errors.tolist()), half_range(build_space(config))
    )


def identity(config: Any, sde: SDE, loaded: LoadedScore, datasets: Datasets) -> dict[str, Any]:
    """What the errors depend on: if any of it changes, they are estimated again."""
    settings = as_json(config)
    return {
        "weights": hash_of_weights(loaded.model),
        "discrete_labels": config.model.discrete_labels,
        "process": repr(sde),
        "eps": config.sampling.eps,
        "images": [datasets.fingerprint, hash_of_some(datasets.train)],
        "data": settings["data"],
        "condition": settings["condition"],
        **mask_of(config),
        "errors": settings["sampling"]["errors"],
    }


def estimate(config: Any, sde: SDE, loaded: LoadedScore, step: int, split: Split) -> ScoreNorms:
    """Estimate the errors from the first images of the split."""
    options, space = config.sampling.errors, build_space(config)
    number = min(options.num_images, split.num_images)
    if number < 2:
        raise UserError(
            "sampling.grid.name=dp and ancestral_sampling_optimal average the denoising errors of 2 or more training images, and the data "
            "have one; use another grid or predictor"
        )
    size = min(config.sampling.batch_size, number)
    image, key = build_condition_image(config), seed_key(SEED)
    with progress_bar(number, "denoising errors", "image") as bar:

        def batches() -> Iterator[tuple[Array, Any]]:
            for first in range(0, number, size):
                indices = range(first, min(first + size, number))
                batch = split.take(indices)
                images, condition = jnp.asarray(batch.images), batch.condition
                if image is not None:
                    condition = image.in_use(images, condition, key, jnp.asarray(batch.index))
                yield space.encode_middle(images), condition
                bar.update(len(indices))

        return score_norms(loaded.model, sde, batches(), error_times(config, sde), key, step)
