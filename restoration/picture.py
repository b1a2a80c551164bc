"""A picture of restored images: one column each, with rows for original, measurement, draws, mean and standard deviation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.evaluation.pictures import save_grid
from score_sde.measurements.linear import Spectral
from score_sde.measurements.measurement import Measurement
from score_sde.restoration.figures import Restored, on_unit
from score_sde.restoration.observed import Observed
from score_sde.spaces import Space

COLUMNS, DRAWS = 12, 4  # at most
SHADES = 256


def as_images(measurement: Measurement, y: np.ndarray) -> np.ndarray:
    """Show measurements as images: unchanged if they have the shape of an image, otherwise A^+ y or A^T y."""
    linear: Any = measurement.linear
    if linear.measured_shape == tuple(linear.shape):
        return y
    back = linear.pseudo_inverse if isinstance(linear, Spectral) else linear.transpose
    return np.asarray(jax.jit(back)(jnp.asarray(y)))


def save_restored(
    path: Path, space: Space, measurement: Measurement, observed: Observed, restored: Restored
) -> dict[str, Any]:
    """Write the picture; return its path and the standard deviation, for pixels in [0, 1], that it shows as white."""
    n = min(COLUMNS, len(observed.y))
    draws, spread = restored.draws[:n, :DRAWS], restored.std[:n]
    shown = [as_images(measurement, observed.y[:n]), *draws.swapaxes(0, 1), restored.mean[:n]]
    if observed.originals is not None:
        shown.insert(0, np.asarray(space.encode_middle(jnp.asarray(observed.originals[:n]))))
    assert space.range is not None
    low, high = space.range
    white = float(spread.max()) / (high - low)
    rows = [on_unit(space, row) for row in shown]
    rows.append(spread / (high - low) / (white or 1.0))
    levels = np.round(np.concatenate(rows) * (SHADES - 1)).astype(np.uint8)
    save_grid(path, levels, SHADES, n)
    return {"picture": str(path), "white_std": white}
