"""Checks that all hosts, each of which reads its own copy of the data, have the same dataset, or the same arrays of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import jax
import numpy as np

from score_sde.data.splits import Datasets
from score_sde.devices import of_every_host
from score_sde.errors import UserError

ALIKE = "give all of them the same files, in a shared folder or as complete copies"


def check_same_data(datasets: Datasets) -> None:
    """Check that all hosts read the same images, since each reads its rows of a batch by index from its own copy.

    Cost: one exchange of a few bytes between hosts, nothing with a single host; no file is read.

    Raises:
      UserError: the datasets differ; raised on every host, with the number of images on each.
    """
    if jax.process_count() == 1:
        return
    counts = [datasets.train.num_images, datasets.test.num_images]
    known = repr((datasets.fingerprint, datasets.class_names)).encode()
    found = of_every_host(np.array([*counts, *numbers_of(hashlib.sha256(known))], np.int32))
    if (found == found[0]).all():
        return
    listed = ", ".join(f"{i}: {train}/{test}" for i, (train, test) in enumerate(found[:, :2]))
    raise UserError(
        f"the hosts read different images from {datasets.name} (training/test images of each host: {listed}; or other "
        f"files or classes): {ALIKE}"
    )


def check_same_arrays(what: str, arrays: Iterable[np.ndarray | None]) -> None:
    """Check that all hosts read the same arrays, or None in their place, from `what`, a field with its value.

    Raises:
      UserError: some differ; raised on every host.
    """
    if jax.process_count() == 1:
        return
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr(None if array is None else (array.shape, array.dtype.str)).encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    found = of_every_host(numbers_of(digest))
    if not (found == found[0]).all():
        raise UserError(f"the hosts read different images or labels from {what}: {ALIKE}")


def numbers_of(digest: hashlib._Hash) -> np.ndarray:
    """A digest as integers, which hosts can exchange."""
    return np.frombuffer(digest.digest(), np.int32)
