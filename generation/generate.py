"""Images from a score model: the sampler that a config names, run over any number of images and devices."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from score_sde.errors import UserError
from score_sde.generation.batches import check_batch_size, gather, index_batches
from score_sde.generation.drivers import batch_sampler
from score_sde.progress import progress_bar
from score_sde.samplers.configured import configure
from score_sde.samplers.optimal_variance import OptimalVariance
from score_sde.sde_lib import SDE


class Generated(NamedTuple):
    """Images of the process, (n, h, w, c) float32; evaluations an image took, averaged; wall-clock time."""

    x: np.ndarray
    nfe: float
    seconds: float


class StartImages(NamedTuple):
    """What to begin from at sampling.t_start, (n, h, w, c) in the units of the process: image i from start image i mod n."""

    x: np.ndarray
    are_states: bool
    """They are x at t_start already; otherwise they are images x_0, and noise is added to them."""


def build_generator(
    config: Any,
    sde: SDE,
    shape: tuple[int, ...],
    start_images: StartImages | None = None,
    variance: OptimalVariance | None = None,
) -> Callable[..., Generated]:
    """A function (score_model, num_images, seed, show=True) -> Generated for images of this shape (h, w, c).

    `variance` is what `configure` asks for where a sampler needs the model's denoising errors.

    It compiles once, however often it is called. Image i of a seed is the same whatever the batch size, for
    samplers of fixed steps; an adaptive solver shares its step size among the images of a device unless
    step_size is "image", and the published Langevin step is shared among those of a batch.
    """
    check_batch_size(config.sampling.batch_size, "sampling.batch_size")
    configured = configure(config.sampling, sde, variance)
    run = batch_sampler(
        configured, sde, shape, start_images is not None and start_images.are_states
    )

    def generate(score_model: Any, num_images: int, seed: int, show: bool = True) -> Generated:
        began = time.perf_counter()
        key = jax.random.key(seed)
        batches = []
        with progress_bar(num_images, "sampling", "image", show) as bar:
            batch_size = config.sampling.batch_size
            for indices, count in index_batches(num_images, batch_size, repeat_last=False):

                def tick(share: float, count: int = count) -> None:
                    bar.update(share * count)

                begin = (
                    None if start_images is None else start_images.x[indices % len(start_images.x)]
                )
                result = run(score_model, key, indices, begin, tick)
                batches.append(gather(result, count))
        x, nfe, success = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        if not success.all() or not np.isfinite(x).all():
            bad = int((~success | ~np.isfinite(x).all(axis=(1, 2, 3))).sum())
            raise UserError(
                f"{bad} of {num_images} samples did not come out finite (sampler {config.sampling.sampler}); "
                "try more steps, looser tolerances, a smaller sampling.snr or a larger sampling.eps"
            )
        return Generated(x, float(nfe.mean()), time.perf_counter() - began)

    return generate
