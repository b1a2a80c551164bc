"""What an interrupted measurement had finished: a file for each batch, in a folder named after all that they depend on."""

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
        if number not in self.found:
            return None
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
