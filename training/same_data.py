"""Of several hosts each reads its own copy of the data: that these are one dataset."""

from __future__ import annotations

import hashlib

import jax
import numpy as np

from score_sde.data.splits import Datasets
from score_sde.devices import of_every_host
from score_sde.errors import UserError


def check_same_data(datasets: Datasets) -> None:
    """Refuse hosts that read different images: each takes its rows of a batch by their numbers, in its own copy.

    Cost: one exchange of a few bytes; of one host none, and no file is looked at.

    Raises:
      UserError: on every host, with the numbers of images of each.
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
        "files or classes): give all of them the same files, by a shared folder or whole copies of one"
    )
