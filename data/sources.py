"""Sources of records around sources: random access, `__getitems__`, as `ImagesOnDisk` asks for it (splits.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Subset:
    """Some records of a source, as `ImagesOnDisk` asks for them."""

    def __init__(self, source: Any, rows: np.ndarray):
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        return self.source.__getitems__(self.rows[list(indices)].tolist())

    def without_images(self) -> Subset:
        return Subset(without_images(self.source), self.rows)


def without_images(source: Any) -> Any:
    """The source that does not read images, or the source as it is, if it has none: a record of TFDS is read as a whole."""
    return source.without_images() if hasattr(source, "without_images") else source
