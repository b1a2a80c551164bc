"""Distances to a known distribution against SciPy, and the coverage of the band."""

import numpy as np
from scipy.stats import kstest, norm

from score_sde.evaluation.known_law import dkw_band, ks_distance, mixture_cdf


def test_ks_distance_is_scipys():
    x = np.random.default_rng(0).normal(size=200)
    assert np.isclose(ks_distance(norm.cdf(np.sort(x))), kstest(x, "norm").statistic, rtol=1e-12)


def test_mixture_cdf_counts_draws():
    """The empirical distribution of 100,000 draws of the mixture agrees with its CDF within the DKW band at 1e-6."""
    rng = np.random.default_rng(0)
    n = 100_000
    first = rng.random(n) < 0.3
    draws = np.where(first, -1 + 0.2 * rng.normal(size=n), 0.6 + 0.3 * rng.normal(size=n))
    points = np.linspace(-2, 2, 41)
    below = (draws[:, None] < points).mean(axis=0)
    difference = mixture_cdf(points, (0.3, 0.7), (-1.0, 0.6), (0.04, 0.09)) - below
    assert np.abs(difference).max() < dkw_band(n)


def test_band_of_the_tables():
    """Tabulated for a false alarm of 1e-6: 0.0852 at n = 1,000 and 0.0085 at 100,000."""
    assert round(dkw_band(1000), 4) == 0.0852
    assert round(dkw_band(100_000), 4) == 0.0085
