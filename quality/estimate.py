"""Estimates with their standard errors, and confidence intervals that account for how well the error is known."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from score_sde.likelihood.classifier import accuracy

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """An estimate with its standard error."""

    value: float
    error: float
    """Standard error of the value."""
    freedom: float = math.inf
    """Degrees of freedom of the error: one less than the number of parts from whose spread it was estimated."""

    @property
    def interval(self) -> tuple[float, float]:
        """Student's t interval at CONFIDENCE: 2.26 errors to either side if the error is from ten parts, 1.96 if it is known."""
        half = self.error * quantile(self.freedom)
        return self.value - half, self.value + half


def quantile(freedom: float) -> float:
    """Two-sided quantile of Student's t at CONFIDENCE; NaN without degrees of freedom."""
    return float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) if freedom > 0 else math.nan


def decimals(error: float) -> int:
    """Number of decimals that show two significant digits of the error; 2 if it is 0 or not finite."""
    known = 0.0 < error < math.inf
    return min(max(0, 1 - math.floor(math.log10(error))), 9) if known else 2


def mean_of(values: np.ndarray) -> Estimate:
    """The mean of independent values (n,) and its standard error, which is NaN for a single value."""
    count = len(values)
    error = float(np.std(values, ddof=1) / np.sqrt(count)) if count > 1 else math.nan
    return Estimate(float(np.mean(values)), error, count - 1)


def share_of(right: np.ndarray) -> Estimate:
    """The share of independent cases (n,) that are right; its error (`accuracy`) is not 0 if all or none are."""
    found = accuracy(np.asarray(right, float), np.ones(len(right)))
    return Estimate(found.value, found.standard_error)


def joined_errors(known: float, found: Estimate) -> tuple[float, float]:
    """Error of the sum of two independent terms, one with known error, and its degrees of freedom (Welch 1947, Satterthwaite 1946)."""
    variance = known**2 + found.error**2
    if not found.error:
        return known, math.inf
    return math.sqrt(variance), found.freedom * (variance / found.error**2) ** 2
