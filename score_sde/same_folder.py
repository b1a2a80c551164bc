"""A check that all hosts see one working directory: only the first writes the results, and the others read them."""

from __future__ import annotations

import secrets
from pathlib import Path

import jax
import numpy as np

from score_sde.devices import on_any_host
from score_sde.errors import UserError


def check_same_folder(workdir: Path) -> None:
    """Check that a file which the first host writes to the folder is there for every host; with a single host nothing is written.

    Raises:
      UserError: some host does not see it; raised on every host.
    """
    if jax.process_count() == 1:
        return
    from jax.experimental import multihost_utils

    # A random name, which no file system has noted as missing, and which no earlier command left behind.
    token = multihost_utils.broadcast_one_to_all(np.frombuffer(secrets.token_bytes(8), np.uint8))
    file = workdir / f".hosts-{token.tobytes().hex()}"
    try:
        if jax.process_index() == 0:
            file.touch()
        multihost_utils.sync_global_devices("a file in the folder")
        unseen = np.zeros(jax.process_count(), bool)
        unseen[jax.process_index()] = not file.exists()
        unseen = on_any_host(unseen)  # by each process
    finally:
        if jax.process_index() == 0:
            file.unlink(missing_ok=True)
    if unseen.any():
        listed = ", ".join(map(str, np.flatnonzero(unseen)))
        raise UserError(
            f"--workdir={workdir} is not the same folder on all hosts: what process 0 writes there is not seen by process {listed}; "
            "give a folder on a disk that all hosts share, by its whole path"
        )
