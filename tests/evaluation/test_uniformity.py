"""The test of uniform ranks: closed forms for few ranks, and its false-alarm rate."""

import numpy as np
import pytest
from scipy.stats import binom

from score_sde.evaluation.uniformity import uniformity


def test_ranks_that_are_exactly_uniform():
    found = uniformity(np.arange(20), 19)
    np.testing.assert_allclose(found.found, found.expected, rtol=1e-12)
    np.testing.assert_allclose(found.expected, np.arange(1, 20) / 20)
    assert found.p_value == 1.0
    assert ((found.low < found.expected) & (found.expected < found.high)).all()


@pytest.mark.parametrize("ranks", [[0] * 6, [1] * 6])
def test_a_coin_that_falls_on_one_side(ranks):
    """Of six ranks among one draw all are alike in 2 of 64 cases: p to five standard errors of the simulation, one false alarm in
    a million."""
    p = 2 / 64
    got = uniformity(np.array(ranks), 1).p_value
    assert got == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / 4000))


def test_three_ranks_of_three():
    """Two ranks on 0, 1, 2. Of nine pairs (0, 0) and (2, 2) are the most uneven, 1/9 of probability at one level; then come
    (0, 2) and such, which are even. By hand: two-sided probabilities 2/9 against 8/9 and more."""
    got = uniformity(np.array([2, 2]), 2).p_value
    assert got == pytest.approx(2 / 9, abs=5 * np.sqrt(2 / 9 * 7 / 9 / 4000))


def test_one_level_is_a_binomial_interval():
    """With one draw the band is that of Bin(n, 1/2) at its level: the least two-sided tail above 1 %."""
    found = uniformity(np.zeros(1000, int), 1)
    low = int(binom.ppf(0.005, 1000, 0.5))
    assert abs(found.low[0] * 1000 - low) <= 3  # the level is simulated: 1 % +- .16 %
    assert found.high[0] == pytest.approx(1 - found.low[0], abs=0.004)
    assert found.p_value < 0.001


def test_the_band_and_the_p_value_agree():
    """For ranks of any kind, also near the level."""
    rng, both = np.random.default_rng(0), set()
    for bend in np.linspace(0.5, 2.0, 60):
        ranks = np.floor(10 * rng.uniform(size=200) ** bend).astype(int)
        found = uniformity(ranks, 9, 0.9)
        within = ((found.low <= found.found) & (found.found <= found.high)).all()
        assert within == (found.p_value > 0.1)
        both.add(bool(within))
    assert both == {True, False}


def test_false_alarms():
    """Of 1,000 sets of uniform ranks 5 % are to have p <= .05. The level itself is simulated and .0034 off one standard error;
    within .036 of it but for one time in a million, both errors together."""
    rng = np.random.default_rng(1)
    p_values = [uniformity(rng.integers(0, 20, 150), 19).p_value for _ in range(1000)]
    error = np.sqrt(0.05 * 0.95 * (1 / 1000 + 1 / 4000))
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=4.9 * error)


def test_what_are_no_ranks_is_refused():
    for ranks, draws in (([], 3), ([4], 3), ([-1], 3), ([0], 0)):
        with pytest.raises(ValueError, match="expected some, from 0 to"):
            uniformity(np.array(ranks, int), draws)
