"""Mean and covariance of features in float64, accumulated over parts.

Features keep their dtype; only one part at a time is converted to float64, so that 50,000 x 2048 features are never held twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

ROWS = 4096  # converted to float64 at once


class Gaussian(Protocol):
    """A distribution of features, given by its mean (d,) and covariance (d, d)."""

    @property
    def mean(self) -> np.ndarray: ...

    @property
    def covariance(self) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Moments:
    """Moments of n rows of d features."""

    count: int
    mean: np.ndarray
    """(d,)"""
    scatter: np.ndarray
    """(d, d): the sum over rows of (x - mean)(x - mean)^T."""

    @property
    def covariance(self) -> np.ndarray:
        """The unbiased covariance (d, d), as used by all FID implementations.

        Raises:
          ValueError: fewer than two rows.
        """
        if self.count < 2:
            raise ValueError(f"a covariance of {self.count} images: expected at least two")
        return self.scatter / (self.count - 1)

    def joined(self, other: Moments) -> Moments:
        """Moments of the union of both sets of rows (Chan, Golub and LeVeque 1979, eq. 1.5), accurate even for a large mean."""
        count = self.count + other.count
        apart = other.mean - self.mean
        between = np.outer(apart, apart) * (self.count * other.count / count)
        mean = self.mean + apart * (other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)


def parts_of(features: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows (n, ...) in parts of ROWS, flattened and in float64."""
    for start in range(0, len(features), ROWS):
        part = np.asarray(features[start : start + ROWS], np.float64)
        yield part.reshape(len(part), -1)


def moments(features: np.ndarray) -> Moments:
    """Moments of the flattened rows (n, ...), at least one."""
    return moments_of_parts(parts_of(features))


def moments_of_parts(parts: Iterable[np.ndarray]) -> Moments:
    """Moments of all rows of the parts, each (n_i, d) in float64, in a single pass."""
    found: Moments | None = None
    for part in parts:
        mean = part.mean(axis=0)
        centred = part - mean
        own = Moments(len(part), mean, centred.T @ centred)
        found = own if found is None else found.joined(own)
    if found is None:
        raise ValueError("no images: a mean needs at least one")
    return found
