"""Quantiles of a mixture and its probability flow; the distance of true samples."""

import numpy as np
import pytest
from scipy.stats import kstwobign, norm

from score_sde.evaluation.known_law import ks_of_true_samples, marginal_mixture, mixture_quantiles
from score_sde.sde_lib import VE, VP, SubVP
from tests.samplers.mixture_flow import EPS, MEANS, VARIANCES, WEIGHTS, quantile_map

LAW = tuple(map(np.asarray, (WEIGHTS, MEANS, VARIANCES)))


def test_quantiles_of_one_gaussian():
    cuts = np.array([1e-6, 0.2, 0.5, 0.9999])
    one = mixture_quantiles(cuts, np.ones(1), np.array([0.3]), np.array([4.0]))
    np.testing.assert_allclose(one, 0.3 + 2.0 * norm.ppf(cuts), rtol=1e-10)


@pytest.mark.parametrize("sde", [VP(), SubVP(), VE()], ids=repr)
def test_the_flow_keeps_quantiles(x64, sde):
    """Equal quantiles at two times are mapped to each other by the flow, as computed independently in mixture_flow."""
    cuts = np.arange(1, 16) / 16
    start, end = (mixture_quantiles(cuts, *marginal_mixture(sde, t, *LAW)) for t in (sde.T, EPS))
    exact = [quantile_map(sde, x, sde.T, EPS) for x in start]
    np.testing.assert_allclose(end, exact, atol=1e-10)


def test_distance_of_true_samples():
    """The mean of Kolmogorov's distribution, by SciPy's density."""
    assert ks_of_true_samples(10_000) == pytest.approx(kstwobign.mean() / 100, rel=1e-6)
