"""Toy images with a known density: every coordinate is drawn independently from the same Gaussian mixture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from score_sde.data.builders import DatasetError
from score_sde.data.fingerprint import as_files
from score_sde.data.image_shape import image_shape
from score_sde.data.splits import Datasets, ImagesInMemory
from score_sde.machine import check_memory

NUM_TRAIN = 2048
NUM_TEST = 256
# Fixed: the run's seed changes the order, not the data. The fingerprint would show it if another version of NumPy drew other data.
DATA_SEED = 0


def mixture_parameters(data: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and variances (k,), float64, of the mixture in config.data; DatasetError if they are invalid."""
    weights = np.asarray(data.mixture_weights, np.float64)
    means = np.asarray(data.mixture_means, np.float64)
    variances = np.asarray(data.mixture_variances, np.float64)
    same_length = weights.ndim == 1 and weights.shape == means.shape == variances.shape
    finite = all(np.isfinite(numbers).all() for numbers in (weights, means, variances))
    if (
        not (same_length and finite)
        or abs(weights.sum() - 1) > 1e-6
        or min(weights) < 0
        or min(variances) <= 0
    ):
        raise DatasetError(
            "a mixture needs weights that sum to 1, and equally many means and positive variances, all finite; got weights "
            f"{weights.tolist()}, means {means.tolist()}, variances {variances.tolist()}"
        )
    return weights, means, variances


def load_mixture(data: Any) -> Datasets:
    """Real-valued images, float32 (n, h, w, num_channels), already in the model's units.

    Args:
        data: config.data, with image_size, num_channels, and the tuples mixture_weights (with sum 1),
            mixture_means and mixture_variances (positive).
    """
    weights, means, variances = mixture_parameters(data)
    rng = np.random.default_rng(DATA_SEED)
    shape = (NUM_TRAIN + NUM_TEST, *image_shape(data))
    check_memory(f"data.name=mixture, {shape} numbers of 8 bytes", 8 * math.prod(shape), 0)
    component = rng.choice(len(weights), size=shape, p=weights / weights.sum())
    noise = rng.standard_normal(shape)
    images = (means[component] + np.sqrt(variances)[component] * noise).astype(np.float32)
    return Datasets(
        name="mixture",
        train=ImagesInMemory(images[:NUM_TRAIN]),
        test=ImagesInMemory(images[NUM_TRAIN:]),
        num_levels=None,
        files=lambda: as_files(images=images),
    )
