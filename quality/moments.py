"""Mean and covariance of features that come in parts, in float64, with no part kept.

Features stay in the type that they came in: a part at a time is float64, so that 50,000 x 2048 are never there twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

ROWS = 4096  # that are float64 at once


class Gaussian(Protocol):
    """A law of features that is known by its mean (d,) and covariance (d, d)."""

    @property
    def mean(self) -> np.ndarray: ...

    @property
    def covariance(self) -> np.ndarray: ...


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


def parts_of(features: np.ndarray) -> Iterator[np.ndarray]:
    """The rows (n, ...), ROWS at a time, flat and in float64."""
    for start in range(0, len(features), ROWS):
        part = np.asarray(features[start : start + ROWS], np.float64)
        yield part.reshape(len(part), -1)


def moments(features: np.ndarray) -> Moments:
    """Of rows (n, ...), at least one; what is not flat is made so."""
    return moments_of_parts(parts_of(features))


def moments_of_parts(parts: Iterable[np.ndarray]) -> Moments:
    """Of all rows of the parts, each (n_i, d) in float64, which are read once."""
    found: Moments | None = None
    for part in parts:
        mean = part.mean(axis=0)
        centred = part - mean
        own = Moments(len(part), mean, centred.T @ centred)
        found = own if found is None else found.joined(own)
    if found is None:
        raise ValueError("no images: a mean needs at least one")
    return found
