"""Blur kernels (k, k) with odd k and sum 1, centered in the middle, in NumPy's float64."""

from __future__ import annotations

import numpy as np

from score_sde.errors import ConfigError
from score_sde.measurements.resampling import CUT


def gaussian_kernel(std: float) -> np.ndarray:
    """An isotropic Gaussian with a standard deviation of `std` pixels, cut off at 4 std."""
    if not 0 < std < np.inf:
        raise ConfigError(f"a Gaussian blur with std={std} pixels: expected a positive number")
    radius = int(CUT * std + 0.5)
    line = np.exp(-0.5 * (np.arange(-radius, radius + 1) / std) ** 2)
    line /= line.sum()
    return np.outer(line, line)


def motion_kernel(length: float, angle: float = 0.0) -> np.ndarray:
    """Blur of a straight motion over `length` pixels at constant speed, `angle` degrees counter-clockwise from the right.

    Each point of the path is distributed bilinearly over its four nearest pixels. The integral along the path is exact: between grid
    lines these weights are quadratic in the arc length, and two-point Gauss quadrature is exact up to cubics.

    Raises:
      ConfigError: the length is not positive.
    """
    if not 0 < length < np.inf:
        raise ConfigError(f"a motion blur with length={length} pixels: expected a positive number")
    direction = np.array([-np.sin(np.radians(angle)), np.cos(np.radians(angle))])  # rows go down
    ways, weights = _between_lines(0.5 * length, direction)
    points = ways[:, None] * direction[None]
    radius = int(np.ceil(0.5 * length))
    kernel = np.zeros((2 * radius + 1,) * 2)
    corner = np.clip(np.floor(points), -radius, radius - 1)
    share = points - corner
    for row in (0, 1):
        for column in (0, 1):
            part = np.abs(1 - row - share[:, 0]) * np.abs(1 - column - share[:, 1])
            place = (corner + radius).astype(int) + [row, column]
            np.add.at(kernel, tuple(place.T), weights * part)
    return kernel


def _between_lines(half: float, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two-point Gauss nodes and weights on each segment of the path from -half to half between crossings of grid lines."""
    cuts = [np.array([-half, half])]
    for component in direction[np.abs(direction) > 1e-12]:
        last = int(half * abs(component))
        cuts.append(np.arange(-last, last + 1) / component)
    ends = np.unique(np.concatenate(cuts))
    middle, width = 0.5 * (ends[1:] + ends[:-1]), ends[1:] - ends[:-1]
    ways = np.concatenate([middle - width / np.sqrt(12), middle + width / np.sqrt(12)])
    return ways, np.concatenate([width, width]) / (4 * half)
