"""A figure with its standard error, and the interval that follows from how well that error is known."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A figure."""

    value: float
    error: float
    """Its standard error."""
    freedom: float = math.inf
    """Degrees of freedom of that error: one less than the parts whose spread it was found from."""

    @property
    def interval(self) -> tuple[float, float]:
        """At CONFIDENCE, by Student's t: of an error that ten parts tell 2.26 errors to either side, of one that is known 1.96."""
        half = self.error * quantile(self.freedom)
        return self.value - half, self.value + half


def quantile(freedom: float) -> float:
    """Of Student's t, beyond which either way 1 - CONFIDENCE lies; NaN where nothing is known of an error."""
    return float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) if freedom > 0 else math.nan


def decimals(error: float) -> int:
    """With which an error has two digits; two where it has none to show."""
    known = 0.0 < error < math.inf
    return min(max(0, 1 - math.floor(math.log10(error))), 9) if known else 2


def mean_of(values: np.ndarray) -> Estimate:
    """The mean of independent values (n,); of a single one the error is NaN."""
    count = len(values)
    error = float(np.std(values, ddof=1) / np.sqrt(count)) if count > 1 else math.nan
    return Estimate(float(np.mean(values)), error, count - 1)


def joined_errors(known: float, found: Estimate) -> tuple[float, float]:
    """The error of a sum of two independent terms, one of a known error, and its degrees of freedom (Welch 1947, Satterthwaite 1946)."""
    variance = known**2 + found.error**2
    if not found.error:
        return known, math.inf
    return math.sqrt(variance), found.freedom * (variance / found.error**2) ** 2
