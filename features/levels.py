"""Scaling of levels, for features computed from pixels."""

from __future__ import annotations

import numpy as np


def in_unit(images: np.ndarray, levels: int) -> np.ndarray:
    """Scale levels 0 ... levels - 1 to [0, 1], float32; with levels = 0, images are real numbers and keep their values."""
    return (images / (levels - 1) if levels else images).astype(np.float32)
