"""The loss on the test split with the averaged weights: one number that can be compared between steps.

It uses each image of the split once, with the same noise in every evaluation. Times are stratified: image i of n has
u = (pi(i) + v_i) / n, with pi a fixed permutation and v_i uniform. This is unbiased for the mean over time, and lacks
most of the variance that would otherwise hide the progress between two evaluations.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde.data.batch import Batch
from score_sde.devices import AXIS, Devices, index_batches
from score_sde.keys import Stream, stream_key
from score_sde.training.draws import LAST
from score_sde.training.objective import Objective


def stratified(seed: int, n: int) -> np.ndarray:
    """Return one number in each of n equal cells of [0, 1), in a fixed random order, float32 (n,); none is rounded up to 1."""
    rng = np.random.default_rng((seed, int(Stream.HELD_OUT)))
    u = (rng.permutation(n) + rng.random(n)) / n
    return np.minimum(u, LAST).astype(np.float32)


class HeldOutLoss:
    """`held_out(ema_params) -> float`, the mean loss over the images of a split."""

    def __init__(self, config: Any, objective: Objective, split: Any, devices: Devices):
        self.split, self.devices = split, devices
        self.u = stratified(config.seed, split.num_images)
        # A batch larger than the split would only add padding.
        num = jax.device_count()
        enough = -(-split.num_images // num) * num
        self.batch_size = min(config.training.batch_size, enough)
        key = stream_key(config.seed, Stream.HELD_OUT)

        def total(params: Any, batch: Batch, u: Array, weight: Array) -> Array:
            losses = objective.held_out_losses(params, batch, u, key)
            return jax.lax.psum(jnp.sum(weight * losses), AXIS)

        self.total = devices.data_parallel(total, (False, True, True, True), out_mapped=False)

    def __call__(self, ema_params: Any) -> float:
        n = self.split.num_images
        totals = []
        for place, _ in index_batches(n, self.batch_size):
            # Pad the last batch with images of weight 0, so that there is one shape and one compilation.
            index = np.minimum(place, n - 1)
            weight = (place < n).astype(np.float32)
            share = (self.split.take(index), self.u[index], weight)
            totals.append(self.total(ema_params, *self.devices.split(share)))
            if self.devices.platform == "cpu":
                # CPU devices share a pool with one thread per core. Two programs at once, each waiting for the other devices in a sum,
                # could leave no thread to compute what they wait for.
                jax.block_until_ready(totals[-1])
        return float(np.sum(jax.device_get(totals), dtype=np.float64)) / n
