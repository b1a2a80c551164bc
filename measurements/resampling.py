"""Matrices (m, n) that downsample or blur a line of n pixels, in NumPy's float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from score_sde.errors import ConfigError
from score_sde.options import choose

# The pixel used for index i outside a line of n pixels; n stands for a zero.
EDGES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "mirrored": lambda i, n: np.minimum(i % (2 * n), (-1 - i) % (2 * n)),
    "periodic": lambda i, n: i % n,
    "zero": lambda i, n: np.where((i >= 0) & (i < n), i, n),
}
CUT = 4  # standard deviations of a Gaussian


def check_factor(n: int, factor: int) -> int:
    """The number of pixels after downsampling; ConfigError if the factor does not divide n."""
    if not (isinstance(factor, int) and factor >= 1 and n % factor == 0):
        raise ConfigError(
            f"super-resolution by {factor} of a side of {n} pixels: expected a whole number that divides it"
        )
    return n // factor


def box_rows(n: int, factor: int) -> np.ndarray:
    """Means of `factor` adjacent pixels."""
    return np.kron(np.eye(check_factor(n, factor)), np.full((1, factor), 1.0 / factor))


def bicubic_rows(n: int, factor: int) -> np.ndarray:
    """Cubic interpolation (Keys 1981, Eq. 4, a = -1/2) widened by the factor; weights within the line are normalized to sum to 1."""
    m = check_factor(n, factor)
    centres, pixels = factor * (np.arange(m) + 0.5), np.arange(n) + 0.5
    weights = keys_cubic((pixels[None] - centres[:, None]) / factor)
    return weights / weights.sum(axis=1, keepdims=True)


def keys_cubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    """Keys's cubic convolution kernel (Keys 1981) at distances x, in pixels."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def gaussian_rows(n: int, std: float, edge: str = "mirrored") -> np.ndarray:
    """A Gaussian sampled at whole pixels, cut off at four standard deviations and normalized to sum to 1."""
    choose("edge", edge, EDGES)
    if not 0 < std < np.inf:
        raise ConfigError(f"a Gaussian blur with std={std} pixels: expected a positive number")
    radius = int(CUT * std + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / std) ** 2)
    weights /= weights.sum()
    taken = EDGES[edge](np.arange(n)[:, None] + offsets[None], n)
    rows = np.zeros((n, n + 1))  # the last column collects zeros beyond the edge
    np.add.at(rows, (np.arange(n)[:, None], taken), weights[None])
    return rows[:, :n]
