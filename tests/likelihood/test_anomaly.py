"""The AUC of a likelihood against closed forms, and its standard error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import f as fisher
from scipy.stats import norm

from score_sde.likelihood.anomaly import auc
from score_sde.likelihood.estimators import build_trace_estimator
from score_sde.likelihood.log_density import log_density
from score_sde.models.exact import GaussianScore
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.sde_lib import SubVP


def test_auc_by_hand():
    """Six pairs: four in order, one tie, one not."""
    assert auc(np.array([1.0, 2.0]), np.array([2.0, 3.0, 1.5])).value == pytest.approx(4.5 / 6)
    assert auc(np.zeros(3), np.zeros(4)) == (0.5, 0.0)
    assert auc(np.zeros(3), np.ones(4)) == (1.0, 0.0)
    with pytest.raises(ValueError, match="expected two or more"):
        auc(np.zeros(1), np.zeros(4))


@pytest.mark.parametrize(
    ("d", "kappa", "exact"),
    [
        (16, 2.0, 0.91177),
        pytest.param(16, 1.5, 0.78690, marks=pytest.mark.slow),
        pytest.param(64, 1.5, 0.94631, marks=pytest.mark.slow),
    ],
)
def test_likelihoods_tell_a_wider_gaussian_as_well_as_they_can(d, kappa, exact):
    """N(0, I) against N(0, kappa I): |x|^2 decides, and the AUC is P(F_dd > 1/kappa); within 4.9 errors of 2,000 each."""
    assert fisher.sf(1 / kappa, d, d) == pytest.approx(exact, abs=5e-6)
    sde, n = SubVP(), 2000
    model = GaussianScore(jnp.zeros(d), jnp.ones(d), jnp.eye(d), sde)
    x = np.random.default_rng(0).normal(size=(2, n, d)).astype(np.float32)
    x[1] *= np.sqrt(kappa)
    estimator = build_trace_estimator("rademacher", 1, 1, 1, d)
    solver = AdaptiveSolver("dopri5", 1e-4, 1e-4)
    keys = jax.random.split(jax.random.key(0), 2 * n)
    costs = -jax.jit(lambda x: log_density(model, sde, x, estimator, keys, 1e-3, solver).nats)(
        x.reshape(2 * n, d)
    )
    found = auc(*np.asarray(costs, np.float64).reshape(2, n))
    assert abs(found.value - exact) < 4.892 * found.standard_error
    assert found.standard_error < 0.01


def test_its_error_bar_holds():
    """200 pairs of normal samples with a shift of 1, whose AUC is Phi(1/sqrt 2): 91 to 98 % of intervals cover it."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        found = auc(rng.normal(size=60), rng.normal(size=40) + 1)
        covered += abs(found.value - norm.cdf(np.sqrt(0.5))) < 1.96 * found.standard_error
    assert 0.91 <= covered / 200 <= 0.98
