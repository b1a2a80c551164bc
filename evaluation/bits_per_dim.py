"""Bits per dimension of a set of images, over batches, devices, dequantisation draws and probes."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from data.scaling import bits_per_dim_offset, dequantize, scale, slope
from errors import UserError
from evaluation.likelihood import log_density
from evaluation.trace import build_trace_estimator
from progress import progress_bar
from samplers.adaptive import AdaptiveSolver
from samplers.batches import check_batch_size, gather, index_batches
from sde_lib import SDE


class BitsPerDim(NamedTuple):
    """Of n images with r repeats: bits/dim and nats (r, n) each, evaluations (r, n), latents (n, h, w, c)."""

    bits_per_dim: np.ndarray
    nats: np.ndarray
    nfe: np.ndarray
    latents: np.ndarray
    """x(T) of the last repeat."""
    seconds: float

    @property
    def mean(self) -> float:
        """The mean over images of their mean over repeats."""
        return float(self.bits_per_dim.mean())

    @property
    def standard_error(self) -> float:
        """Of that mean, from the spread between images (which holds the spread of noise and probes too)."""
        per_image = self.bits_per_dim.mean(axis=0)
        if len(per_image) < 2:
            return math.nan
        return float(per_image.std(ddof=1) / math.sqrt(len(per_image)))


def measure_bits_per_dim(
    config: Any, sde: SDE, score_model: Any, split: Any, seed: int, show: bool = True
) -> BitsPerDim:
    """Bits/dim of every image, by the probability-flow ODE with uniform dequantisation.

    Each repeat draws new dequantisation noise and a new probe for each image, from the image's index, so a
    value does not depend on the batch but for the solver's shared step size.

    Args:
      split: a split of a dataset (data/splits.py): its `take(indices)` gives images (n, h, w, c), integer
        levels, or real numbers when data.num_levels is 0. `likelihood.num_images` limits it to its first.
    """
    options = config.likelihood
    check_batch_size(options.batch_size, "likelihood.batch_size")
    num_levels = config.data.num_levels or None
    num_images = min(options.num_images or split.num_images, split.num_images)
    dimension = math.prod(split.shape)
    offset = bits_per_dim_offset(num_levels, slope(config.data.centered))
    solver = AdaptiveSolver(options.solver, options.rtol, options.atol)
    estimator = build_trace_estimator(
        options.probe,
        options.num_probes,
        options.sketch_size,
        options.products_at_once,
        dimension,
    )
    each_image = options.step_size == "image"

    def measure(model: Any, key: Array, indices: Array, images: Array):
        def prepare(index: Array, image: Array) -> tuple[Array, Array]:
            noise_key, probe_key = jax.random.split(jax.random.fold_in(key, index))
            u = jax.random.uniform(noise_key, image.shape)
            return scale(dequantize(image, u, num_levels), config.data.centered), probe_key

        x, probe_keys = jax.vmap(prepare)(indices, images)
        density = log_density(model, sde, x, estimator, probe_keys, options.eps, solver, each_image)
        return density.nats, density.latent, density.nfe, density.success

    # Products in full float32: TF32, the default of recent GPUs, moves the third digit of bits/dim.
    with jax.default_matmul_precision("highest"):
        began = time.perf_counter()
        run = jax.pmap(measure, in_axes=(None, None, 0, 0))
        batches = []
        with progress_bar(num_images * options.repeats, "likelihood", "image", show) as bar:
            for repeat in range(options.repeats):
                key = jax.random.fold_in(jax.random.key(seed), repeat)
                for indices, count in index_batches(num_images, options.batch_size):
                    images = split.take(indices.ravel()).reshape(*indices.shape, *split.shape)
                    result = run(score_model, key, indices, images)
                    batches.append(gather(result, count))
                    bar.update(count)
        seconds = time.perf_counter() - began

    nats, latents, nfe, success = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    if not success.all() or not np.isfinite(nats).all():
        bad = int((~success | ~np.isfinite(nats)).sum())
        raise UserError(
            f"{bad} of {len(nats)} likelihoods did not come out finite (solver {options.solver}, "
            f"rtol={options.rtol}, atol={options.atol}); try a larger likelihood.eps or other tolerances"
        )
    by_repeat = (options.repeats, num_images)
    return BitsPerDim(
        bits_per_dim=(-nats / (dimension * math.log(2)) + offset).reshape(by_repeat),
        nats=nats.reshape(by_repeat),
        nfe=nfe.reshape(by_repeat),
        latents=latents[-num_images:],
        seconds=seconds,
    )
