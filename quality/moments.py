"""Mean and covariance of features that come in parts, in float64, with no part kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Moments:
    """Of n rows of d features."""

    count: int
    mean: np.ndarray
    """(d,)"""
    scatter: np.ndarray
    """(d, d): the sum over rows of (x - mean)(x - mean)^T."""

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased, (d, d), as every FID has it.

        Raises:
          ValueError: fewer than two rows.
        """
        if self.count < 2:
            raise ValueError(f"a covariance of {self.count} images: expected at least two")
        return self.scatter / (self.count - 1)

    def joined(self, other: Moments) -> Moments:
        """Those of the rows of both (Chan, Golub and LeVeque 1979, eq. 1.5), which lose no digits to a large mean."""
        count = self.count + other.count
        apart = other.mean - self.mean
        between = np.outer(apart, apart) * (self.count * other.count / count)
        mean = self.mean + apart * (other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)


def moments(features: np.ndarray) -> Moments:
    """Of rows (n, ...), at least one; what is not flat is made so."""
    flat = np.asarray(features, np.float64).reshape(len(features), -1)
    mean = flat.mean(axis=0)
    centred = flat - mean
    return Moments(len(flat), mean, centred.T @ centred)


def moments_of_parts(parts: Iterable[np.ndarray]) -> Moments:
    """Of all rows of the parts, each (n_i, d), which are read once."""
    found: Moments | None = None
    for part in parts:
        found = moments(part) if found is None else found.joined(moments(part))
    if found is None:
        raise ValueError("no images: a mean needs at least one")
    return found
