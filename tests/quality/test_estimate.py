"""Intervals of figures whose error is estimated from few parts."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from score_sde.quality.estimate import Estimate, joined_errors, mean_of, share_of
from score_sde.quality.table import table, with_intervals


@pytest.mark.parametrize(
    ("freedom", "errors"), [(math.inf, 1.9600), (1, 12.7062), (9, 2.2622), (30, 2.0423)]
)
def test_an_interval_reaches_as_many_errors_as_tables_of_students_t_have(freedom, errors):
    low, high = Estimate(3.0, 0.5, freedom).interval
    assert (high - 3.0) / 0.5 == pytest.approx(errors, abs=5e-5)
    assert (3.0 - low) / 0.5 == pytest.approx(errors, abs=5e-5)


def test_a_mean_of_three():
    """The values 1, 2 and 6: standard deviation sqrt(7), two degrees of freedom."""
    assert mean_of(np.array([1.0, 2.0, 6.0])) == (3.0, pytest.approx(math.sqrt(7 / 3)), 2)
    assert math.isnan(mean_of(np.array([1.0])).error)
    assert math.isnan(mean_of(np.array([1.0])).interval[0])


@pytest.mark.parametrize("share", [0.9, 0.99, 0.997])
def test_intervals_of_shares_near_one_hold_the_truth(share):
    """Of 300 cases, summed over the binomial law of the number right. With the spread of the cases themselves 78 % of the intervals of .995 hold
    it: after 300 of 300 they are a point."""
    right = np.arange(301)
    found = [share_of(np.arange(300) < count).interval for count in right]
    held = np.array([low <= share <= high for low, high in found])
    assert binom.pmf(right, 300, share) @ held > 0.93


def test_a_share_of_all_or_none_has_an_error():
    """Of 300 right 300: as of 302 right of 304 (Agresti and Coull)."""
    every, none = share_of(np.ones(300)), share_of(np.zeros(300))
    assert (every.value, none.value) == (1.0, 0.0)
    expected = binom.std(304, 302 / 304) / 304
    assert (every.error, none.error) == pytest.approx((expected, expected))


def test_errors_of_independent_terms_join():
    """Two equal errors, one of them known exactly, have four times the degrees of freedom of the other; a known error stays known."""
    error, freedom = joined_errors(2.0, Estimate(0.0, 2.0, 7))
    assert (error, freedom) == (pytest.approx(math.sqrt(8)), pytest.approx(28))
    assert joined_errors(2.0, Estimate(0.0, 0.0, 7)) == (2.0, math.inf)
    assert joined_errors(0.0, Estimate(0.0, 2.0, 7)) == (2.0, 7)


def test_intervals_of_joined_errors_hold_the_truth():
    """The sum of a term of known error and an equally uncertain mean of eight: 95 % coverage of 4,000, within 4 errors of 0.35 %."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(4000):
        mean = mean_of(rng.normal(scale=math.sqrt(8), size=8))
        found = Estimate(rng.normal() + mean.value, *joined_errors(1.0, mean))
        low, high = found.interval
        inside.append(low < 0.0 < high)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.014)


def test_a_table_shows_the_interval_that_the_record_has():
    recorded = with_intervals({"kid": Estimate(0.5, 0.1, 9)})
    assert recorded["kid_interval"] == pytest.approx([0.27378, 0.72622], abs=1e-5)
    assert "0.5 +- 0.1      0.27 .. 0.73" in table("", recorded, ())
