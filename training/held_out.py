"""The loss on the test split, with the averaged weights: one number that can be compared between steps.

All of the split, once; the same noise for the same image every time; and times that are stratified, image i
of n at u = (pi(i) + v_i) / n with pi a fixed permutation and v_i uniform. This is unbiased for the mean over
time, and without most of its variance, which otherwise hides the progress between two evaluations.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde.training.objective import Objective, Stream, image_keys, stream_key
from score_sde.training.step import AXIS


def stratified(seed: int, n: int) -> np.ndarray:
    """One number in each of the n cells of [0, 1), in a fixed random order, float32 (n,)."""
    rng = np.random.default_rng((seed, int(Stream.HELD_OUT)))
    return ((rng.permutation(n) + rng.random(n)) / n).astype(np.float32)


class HeldOutLoss:
    """`held_out(ema_params) -> float`, the mean loss over the images of a split."""

    def __init__(self, config: Any, objective: Objective, split: Any):
        self.split = split
        self.u = stratified(config.seed, split.num_images)
        # A batch larger than the split would only add padding.
        devices = jax.device_count()
        enough = -(-split.num_images // devices) * devices
        self.batch_size = min(config.training.batch_size, enough)
        key = stream_key(config.seed, Stream.HELD_OUT)

        def total(params: Any, images: Array, u: Array, index: Array, weight: Array) -> Array:
            losses = objective.held_out_losses(params, images, u, image_keys(key, index))
            return jax.lax.psum(jnp.sum(weight * losses), AXIS)

        axes = (None, 0, 0, 0, 0)
        self.total = jax.pmap(total, axis_name=AXIS, in_axes=axes, out_axes=None)

    def __call__(self, ema_params: Any) -> float:
        n = self.split.num_images
        share = self.batch_size // jax.process_count()
        totals = []
        for start in range(0, n, self.batch_size):
            place = start + jax.process_index() * share + np.arange(share)
            # The last batch is filled up with images that count nothing: one shape, one compilation.
            index = np.minimum(place, n - 1)
            weight = (place < n).astype(np.float32)
            batch = (self.split.take(index).images, self.u[index], index.astype(np.int32), weight)
            totals.append(self.total(ema_params, *map(per_device, batch)))
        return float(np.sum(jax.device_get(totals), dtype=np.float64)) / n


def per_device(array: np.ndarray) -> np.ndarray:
    """Split the first axis over this process's devices: (b, ...) -> (devices, b / devices, ...)."""
    return array.reshape(jax.local_device_count(), -1, *array.shape[1:])
