"""The distance between samples and a law known in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from scipy.stats import norm


def mixture_cdf(
    x: np.ndarray, weights: Iterable[float], means: Iterable[float], variances: Iterable[float]
) -> np.ndarray:
    """The distribution function of the 1-D mixture sum_k w_k N(mean_k, variance_k)."""
    parts = (
        weight * norm.cdf((x - mean) / math.sqrt(variance))
        for weight, mean, variance in zip(weights, means, variances, strict=True)
    )
    return np.sum(list(parts), axis=0)


def ks_distance(sorted_cdf: np.ndarray) -> float:
    """sup |F_n - F|, from F at the n sorted samples."""
    n = len(sorted_cdf)
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - sorted_cdf).max(), (sorted_cdf - steps[:-1]).max()))


def dkw_band(n: int, false_alarm: float = 1e-6) -> float:
    """What the distance of n independent samples of the law itself stays below, but for this probability.

    sqrt(ln(2/alpha) / (2n)): Dvoretzky, Kiefer and Wolfowitz (1956) with Massart's constant (1990).
    """
    return math.sqrt(math.log(2.0 / false_alarm) / (2.0 * n))
