"""A check that all hosts, each of which reads its own copy of the data, have the same dataset."""

from __future__ import annotations

import hashlib

import jax
import numpy as np

from score_sde.data.splits import Datasets
from score_sde.devices import of_every_host
from score_sde.errors import UserError


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
    digest = np.frombuffer(hashlib.sha256(known).digest(), np.int32)
    found = of_every_host(np.array([*counts, *digest], np.int32))
    if (found == found[0]).all():
        return
    listed = ", ".join(f"{i}: {train}/{test}" for i, (train, test) in enumerate(found[:, :2]))
    raise UserError(
        f"the hosts read different images from {datasets.name} (training/test images of each host: {listed}; or other "
        "files or classes): give all of them the same files, in a shared folder or as complete copies"
    )
