"""Whether ranks are uniform on 0 ... L, by their distribution function and a band for all of it at once.

Of n independent uniform ranks the number at most k is binomial, Bin(n, (k + 1)/(L + 1)). The statistic is the least two-sided
binomial probability over k, its law under uniformity is simulated, and the band is where the statistic would pass
(Saeilynoja, Buerkner and Vehtari 2022). The test is exact for every n and L, ties of ranks included.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

SIMULATED = 4000  # sets of uniform ranks: the least p-value is 1 over it


class Uniformity(NamedTuple):
    """The distribution function of ranks at 0 ... L - 1, (L,) each."""

    expected: np.ndarray
    """(k + 1)/(L + 1)."""
    found: np.ndarray
    """The share of the ranks that are at most k."""
    low: np.ndarray
    high: np.ndarray
    """Between which all of `found` is with the probability that was asked for."""
    p_value: float
    """The chance that uniform ranks look as uneven as these or more."""


def uniformity(ranks: np.ndarray, num_draws: int, confidence: float = 0.99) -> Uniformity:
    """How uniform ranks (n,) among L = num_draws draws are, integers 0 ... L.

    All of `found` lies within the band just where the p-value is above 1 - confidence.

    Raises:
      ValueError: a rank that is none, or no draws.
    """
    n = len(ranks)
    if num_draws < 1 or not n or np.min(ranks) < 0 or np.max(ranks) > num_draws:
        raise ValueError(f"{n} ranks among {num_draws} draws: expected some, from 0 to {num_draws}")
    counts = np.cumsum(np.bincount(ranks, minlength=num_draws + 1))[:-1]
    table, simulated = probabilities(n, num_draws), null_statistics(n, num_draws)
    statistic = table[np.arange(num_draws), counts].min()
    p_value = (1 + np.searchsorted(simulated, statistic, side="right")) / (SIMULATED + 1)
    # The least of the simulated statistics whose p-value is above 1 - confidence
    within = table >= simulated[max(0, int((1 - confidence) * (SIMULATED + 1) - 1))]
    low, high = within.argmax(axis=1) / n, 1 - within[:, ::-1].argmax(axis=1) / n
    expected = np.arange(1, num_draws + 1) / (num_draws + 1)
    return Uniformity(expected, counts / n, low, high, float(p_value))


@functools.lru_cache(maxsize=8)
def probabilities(n: int, num_draws: int) -> np.ndarray:
    """(L, n + 1): for each k how probable a number of ranks at most k is that lies as far out, on either side."""
    share = np.arange(1, num_draws + 1)[:, None] / (num_draws + 1)
    numbers = np.arange(n + 1)[None]
    below, above = binom.cdf(numbers, n, share), binom.sf(numbers - 1, n, share)
    return np.minimum(1.0, 2.0 * np.minimum(below, above))


@functools.lru_cache(maxsize=8)
def null_statistics(n: int, num_draws: int) -> np.ndarray:
    """The statistic of uniform ranks, sorted (SIMULATED,): always the same ones."""
    rng, table = np.random.default_rng(0), probabilities(n, num_draws)
    even = np.full(num_draws + 1, 1.0 / (num_draws + 1))
    found = []
    for _ in range(SIMULATED):
        counts = np.cumsum(rng.multinomial(n, even))[:-1]
        found.append(table[np.arange(num_draws), counts].min())
    return np.sort(found)
