"""The data order, a pure function of (seed, step): a run can resume from its step number alone."""

from __future__ import annotations

import functools

import numpy as np


def fixed_permutation(num_images: int) -> np.ndarray:
    """A permutation that never changes, int64 (num_images,), to split a dataset regardless of how its file is sorted.

    Like that of `epoch_permutation`, it sorts Philox bits, which are the same in every version of NumPy.
    """
    return np.argsort(np.random.Philox(key=0).random_raw(num_images), kind="stable")


@functools.lru_cache(maxsize=4)
def epoch_permutation(seed: int, epoch: int, num_images: int) -> np.ndarray:
    """The order of the images in one epoch.

    It sorts random bits instead of calling `Generator.permutation`: NumPy guarantees the stream of a bit generator
    forever but not that of a Generator, and a resumed run must see the same order after an upgrade. grain's shuffle
    is not used because it seeds epoch e with seed + e, so that seeds 0 and 1 share all epochs but one.

    Args:
        seed, epoch: non-negative integers; every pair gives an independent permutation.
        num_images: number of images in the dataset.

    Returns:
        int64 (num_images,), read-only because it is cached.
    """
    bits = np.random.Philox(np.random.SeedSequence((seed, epoch))).random_raw(num_images)
    permutation = np.argsort(bits, kind="stable")
    permutation.flags.writeable = False
    return permutation


def batch_indices(seed: int, step: int, batch_size: int, num_images: int) -> np.ndarray:
    """The images that form the global batch of a step.

    The epochs, each with every image once, are concatenated, and step k takes positions k*batch_size up to
    (k + 1)*batch_size: no image is dropped, and a batch may straddle epochs. The result does not depend on the
    number of hosts or devices; split it among them with `process_slice`.

    Args:
        seed: non-negative integer.
        step: 0, 1, 2, ...; any step costs the same: one permutation per epoch, cached.
        batch_size: size of the global batch, over all hosts and gradient accumulation.
        num_images: number of images in the dataset.

    Returns:
        int64 (batch_size,) in [0, num_images).
    """
    if seed < 0 or step < 0 or batch_size < 1 or num_images < 1:
        raise ValueError(
            f"{seed=} and {step=} must be at least 0, {batch_size=} and {num_images=} at least 1"
        )
    position = int(step) * batch_size
    end = position + batch_size
    pieces = []
    while position < end:
        epoch, offset = divmod(position, num_images)
        permutation = epoch_permutation(int(seed), epoch, num_images)
        pieces.append(permutation[offset : offset + end - position])
        position += len(pieces[-1])
    return np.concatenate(pieces)


def process_slice(indices: np.ndarray, process_index: int, process_count: int) -> np.ndarray:
    """The contiguous part of a global batch that one host reads; ValueError if it cannot be split evenly."""
    if len(indices) % process_count:
        raise ValueError(
            f"a global batch of {len(indices)} cannot be split over {process_count} hosts; "
            f"make the batch size a multiple of {process_count}"
        )
    size = len(indices) // process_count
    return indices[process_index * size : (process_index + 1) * size]


def host_places(batch_size: int, process_index: int, process_count: int) -> np.ndarray:
    """Positions of one host's images in the global batch, int32."""
    return process_slice(np.arange(batch_size, dtype=np.int32), process_index, process_count)
