"""What an interrupted command had finished: a file for each batch, in a folder named after all that they depend on."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

Batch = dict[str, np.ndarray]


class Unfinished(Protocol):
    """Keeps finished batches by number."""

    def load(self, number: int) -> Batch | None: ...

    def save(self, number: int, batch: Batch) -> None: ...


class Nowhere:
    """Keeps nothing."""

    def load(self, number: int) -> Batch | None:
        return None

    def save(self, number: int, batch: Batch) -> None:
        return


class UnfinishedFolder:
    """`folder`/unfinished-<digest>/<number>.npz, until `remove`.

    The digest is that of `identity`, so batches are taken up by the very same measurement only. Several hosts see one
    folder; what it held is looked up once, at the start, before any of them can have written to it.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]):
        text = json.dumps(identity, sort_keys=True, default=str)
        self.folder = folder / f"unfinished-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        self.found = {int(path.stem) for path in self.folder.glob("*.npz")}

    def load(self, number: int) -> Batch | None:
        return self.read(number) if number in self.found else None

    def read(self, number: int) -> Batch:
        """A batch that was saved, now or before."""
        with np.load(self.folder / f"{number}.npz") as file:
            return dict(file)

    def save(self, number: int, batch: Batch) -> None:
        if jax.process_index() > 0:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{number}.partial"
        with open(partial, "wb") as file:  # np.savez would add .npz to a name
            np.savez(file, **batch)  # type: ignore[arg-type]
        partial.replace(self.folder / f"{number}.npz")

    def remove(self) -> None:
        if jax.process_index() == 0:
            shutil.rmtree(self.folder, ignore_errors=True)


def newest_file(folder: Path) -> float:
    """When the folder last changed: weights trained again to the same step are other weights."""
    return max((path.stat().st_mtime for path in folder.rglob("*")), default=0.0)


def changed(path: str) -> float | None:
    """When a file that an option names last changed; None if it names none."""
    return Path(path).stat().st_mtime if Path(path).is_file() else None


def all_hosts_meet(what: str) -> None:
    """Wait for the other hosts: none may still be reading what the first is about to remove."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)


def unused(folder: Path, stem: str, suffix: str) -> Path:
    """A file name whose stem no earlier result has, under any suffix: nothing is written over."""
    path, n = folder / stem, 2
    while any(Path(f"{path}{taken}").exists() for taken in ("", ".npz", ".png")):
        path, n = folder / f"{stem}-{n}", n + 1
    return Path(f"{path}{suffix}")
