"""Levels as numbers, for features that are made of pixels."""

from __future__ import annotations

import numpy as np


def in_unit(images: np.ndarray, levels: int) -> np.ndarray:
    """Levels 0 ... levels - 1 in [0, 1]; where there are none, real numbers as they are. float32."""
    return (images / (levels - 1) if levels else images).astype(np.float32)
