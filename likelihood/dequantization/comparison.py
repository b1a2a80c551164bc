"""The gain of a trained dequantizer: the bound with it and with uniform noise, on the same images, draws and times.

Both use the same uniform numbers, so most of the variance of their one-sample estimates is shared, and the error of the
difference is far below that of either.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from score_sde.data.batch import Batch
from score_sde.devices import build_devices, index_batches
from score_sde.likelihood.dequantization.dequantizer import Dequantizer, UniformDequantizer
from score_sde.likelihood.dequantization.objective import build_bound
from score_sde.likelihood.per_image import condition_image_of
from score_sde.models.score import ScoreModel, bind
from score_sde.progress import progress_bar
from score_sde.sde_lib import SDE


class Comparison(NamedTuple):
    """Bounds in bits/dim of n images, averaged over repeats, float64 (n,)."""

    uniform: np.ndarray
    learnt: np.ndarray

    @property
    def gain(self) -> np.ndarray:
        """Bits/dim by which the learned noise tightens the bound of each image."""
        return self.uniform - self.learnt


def compare(
    config: Any,
    dequantizer: Dequantizer,
    score: ScoreModel,
    sde: SDE,
    split: Any,
    key: Array,
    show: bool = True,
) -> Comparison:
    """Compute both bounds for the first config.dequantizer.num_images images of a split (0: all).

    Cost: 2 `repeats` evaluations of the score per image.
    """
    options = config.dequantizer
    number = min(options.num_images or split.num_images, split.num_images)
    devices = build_devices(config)
    bound, image = build_bound(config, sde), condition_image_of(config)

    def pair(dequantizer: Dequantizer, score: ScoreModel, key: Array, batch: Batch) -> Any:
        """Bounds in nats with uniform noise and with the dequantizer."""
        condition = batch.condition
        if image is not None:
            condition = image.in_use(batch.images, condition, key, batch.index)
        rest = bind(score, condition), batch.images, key, batch.index, number
        return bound(UniformDequantizer(), *rest), bound(dequantizer, *rest)

    run = devices.data_parallel(pair, (False, False, False, True))
    sums = []
    with (
        jax.default_matmul_precision("highest"),
        progress_bar(number * options.repeats, "comparison", "image", show) as bar,
    ):
        for repeat in range(options.repeats):
            pairs = []
            for indices, count in index_batches(number, options.batch_size):
                indices = np.minimum(indices, number - 1)
                batch = devices.split(split.take(indices))
                both = run(dequantizer, score, jax.random.fold_in(key, repeat), batch)
                pairs.append(devices.gather(both, count))
                bar.update(count)
            sums.append([np.concatenate(side) for side in zip(*pairs, strict=True)])
    nats = np.mean(np.asarray(sums, np.float64), axis=0)
    return Comparison(*bound.bits_per_dim(nats, math.prod(split.shape)))
