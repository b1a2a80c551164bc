"""A test of whether ranks are uniform on 0 ... L, by their distribution function, with a simultaneous confidence band.

Of n independent uniform ranks, the number that are at most k is Bin(n, (k + 1)/(L + 1)). The test statistic is the smallest two-sided
binomial probability over k. Its null distribution is simulated, and the band contains the values that the test accepts
(Saeilynoja, Buerkner and Vehtari 2022). The test is exact for every n and L, including ties.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

SIMULATED = 4000  # sets of uniform ranks; the smallest possible p-value is 1 / (SIMULATED + 1)


class Uniformity(NamedTuple):
    """The distribution function of ranks at 0 ... L - 1, (L,) each, with its band."""

    expected: np.ndarray
    """Its value (k + 1)/(L + 1) for uniform ranks."""
    found: np.ndarray
    """Fraction of the ranks that are at most k."""
    low: np.ndarray
    high: np.ndarray
    """The band: for uniform ranks, all of `found` lies between `low` and `high` with the given confidence."""
    p_value: float
    """Probability that uniform ranks deviate as much as these or more."""


def uniformity(ranks: np.ndarray, num_draws: int, confidence: float = 0.99) -> Uniformity:
    """Test integer ranks (n,) among L = num_draws draws, 0 ... L, for uniformity.

    All of `found` lies within the band if and only if the p-value is above 1 - confidence.

    Raises:
      ValueError: ranks outside 0 ... L, or no ranks or draws.
    """
    n = len(ranks)
    if num_draws < 1 or not n or np.min(ranks) < 0 or np.max(ranks) > num_draws:
        raise ValueError(f"{n} ranks among {num_draws} draws: expected some, from 0 to {num_draws}")
    counts = np.cumsum(np.bincount(ranks, minlength=num_draws + 1))[:-1]
    table, simulated = probabilities(n, num_draws), null_statistics(n, num_draws)
    statistic = table[np.arange(num_draws), counts].min()
    p_value = (1 + np.searchsorted(simulated, statistic, side="right")) / (SIMULATED + 1)
    # The smallest simulated statistic with a p-value above 1 - confidence
    within = table >= simulated[max(0, int((1 - confidence) * (SIMULATED + 1) - 1))]
    low, high = within.argmax(axis=1) / n, 1 - within[:, ::-1].argmax(axis=1) / n
    expected = np.arange(1, num_draws + 1) / (num_draws + 1)
    return Uniformity(expected, counts / n, low, high, float(p_value))


@functools.lru_cache(maxsize=8)
def probabilities(n: int, num_draws: int) -> np.ndarray:
    """Two-sided binomial probabilities (L, n + 1), for each k and each number of ranks that are at most k."""
    share = np.arange(1, num_draws + 1)[:, None] / (num_draws + 1)
    numbers = np.arange(n + 1)[None]
    below, above = binom.cdf(numbers, n, share), binom.sf(numbers - 1, n, share)
    return np.minimum(1.0, 2.0 * np.minimum(below, above))


@functools.lru_cache(maxsize=8)
def null_statistics(n: int, num_draws: int) -> np.ndarray:
    """Sorted statistics (SIMULATED,) of simulated uniform ranks, with a fixed seed."""
    rng, table = np.random.default_rng(0), probabilities(n, num_draws)
    even = np.full(num_draws + 1, 1.0 / (num_draws + 1))
    found = []
    for _ in range(SIMULATED):
        counts = np.cumsum(rng.multinomial(n, even))[:-1]
        found.append(table[np.arange(num_draws), counts].min())
    return np.sort(found)
