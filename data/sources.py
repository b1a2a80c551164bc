"""Sources of records that wrap another source, with random access by `__getitems__` for `ImagesOnDisk` (splits.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Subset:
    """A source with some of the records of another."""

    def __init__(self, source: Any, rows: np.ndarray):
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        return self.source.__getitems__(self.rows[list(indices)].tolist())

    def without_images(self) -> Subset:
        return Subset(without_images(self.source), self.rows)


def without_images(source: Any) -> Any:
    """The source without images if it has one, else the source itself: TFDS, for instance, always reads whole records."""
    return source.without_images() if hasattr(source, "without_images") else source
