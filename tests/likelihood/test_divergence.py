"""Jacobian-vector products of velocities differentiated by hand, the probes, and the spread of likelihood estimates."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from score_sde.likelihood.divergence import quadratic_forms
from score_sde.likelihood.estimators import build_trace_estimator
from score_sde.likelihood.log_density import log_density
from score_sde.likelihood.trace import ExactTrace
from score_sde.models.exact import GaussianScore
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.sde_lib import VP


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 1), (4, 4, 1), (5, 5, 2)])
def test_exact_trace_of_a_velocity_known_by_hand(x64, shape):
    """v(x) = A x + sin x has the divergence tr A + sum cos x: for less than one, one, and three chunks of products."""
    d = math.prod(shape)
    rng = np.random.default_rng(0)
    matrix, x = rng.normal(size=(d, d)), rng.normal(size=(3, *shape))

    def velocity(x):
        return (x.reshape(3, d) @ jnp.asarray(matrix).T).reshape(x.shape) + jnp.sin(x)

    value, trace = jax.jit(lambda x: ExactTrace(16).rates(velocity, x, ()))(jnp.asarray(x))
    np.testing.assert_allclose(value, velocity(jnp.asarray(x)), rtol=1e-12)
    expected = np.trace(matrix) + np.cos(x).reshape(3, d).sum(axis=1)
    np.testing.assert_allclose(trace[:, 0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num", [1, 3, 5])
def test_a_probe_takes_its_own_images_jacobian(x64, num):
    """For v = x^2, e . J e = 2 sum x e^2 with x and e of each image; two products at a time."""
    rng = np.random.default_rng(0)
    x, probes = rng.normal(size=(5, 2, 3, 1)), rng.normal(size=(5, num, 2, 3, 1))
    vectors = jnp.asarray(probes)
    value, forms = quadratic_forms(
        lambda x: x**2, jnp.asarray(x), lambda k: vectors[:, k], num, at_once=2
    )
    np.testing.assert_allclose(value, x**2, rtol=1e-12)
    np.testing.assert_allclose(forms, (2 * x[:, None] * probes**2).sum(axis=(2, 3, 4)), rtol=1e-12)


@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_probes_have_identity_covariance(probe):
    """100,000 entries: the mean within 4.9 standard errors of 0, the second moment of 1 (false alarm 1e-6)."""
    keys = jax.random.split(jax.random.key(0), 10)
    estimator = build_trace_estimator(probe, 2, 1, 16, 5_000)
    draws = np.asarray(
        estimator.draw(keys, jnp.zeros((10, 5_000)), pytest.fail).vectors, np.float64
    )
    assert draws.shape == (10, 2, 5_000)
    assert abs(draws.mean()) < 4.892 / math.sqrt(1e5)
    assert abs((draws**2).mean() - 1) <= 4.892 * (draws**2).std() / math.sqrt(1e5) + 1e-12
    # Images and probes share nothing: the largest of 190 correlations of 5,000 entries, again at 1e-6.
    correlations = np.corrcoef(draws.reshape(20, -1))[np.triu_indices(20, 1)]
    assert np.abs(correlations).max() < stats.norm.isf(1e-6 / 380) / math.sqrt(5_000)


# Sigma = 0.25 rho^|i - j|, VP, eps = 1e-5: the standard deviation of bits/dim over probes
SPREADS = [
    (16, 0.9, "rademacher", 0.383), pytest.param(16, 0.9, "gaussian", 0.844, marks=pytest.mark.slow),
    *(pytest.param(64, 0.9, *known, marks=pytest.mark.slow) for known in (("rademacher", 0.189), ("gaussian", 0.429))),
]  # fmt: skip
# Coarser than the default: its error is a hundredth of the spread's own.
COARSE = AdaptiveSolver("dopri5", 1e-4, 1e-4)


def repeated(d, rho, name, num_probes, draws):
    """Bits/dim of one image of d correlated pixels by `draws` estimates, their standard errors, and the exact value."""
    covariance = 0.25 * rho ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    model = GaussianScore.create(jnp.zeros(d), jnp.asarray(covariance, jnp.float32), VP())
    x = np.random.default_rng(1).multivariate_normal(np.zeros(d), covariance)
    batch = jnp.broadcast_to(jnp.asarray(x, jnp.float32), (draws, d))
    estimator = build_trace_estimator(name, num_probes, 4, 16, d)
    keys = jax.random.split(jax.random.key(4), draws)
    result = jax.jit(lambda x: log_density(model, VP(), x, estimator, keys, 1e-5, COARSE))(batch)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    alpha2, sigma2 = math.exp(-10.05), -math.expm1(-10.05)
    std = np.sqrt((eigenvalues + 0.0010004971**2) / (alpha2 * eigenvalues + sigma2))
    exact = -stats.norm.logpdf(vectors.T @ x, 0, std).sum()
    units = d * math.log(2)
    bits = -np.asarray(result.nats, np.float64) / units
    return bits, np.asarray(result.standard_error, np.float64) / units, exact / units


@pytest.mark.parametrize(("d", "rho", "name", "spread"), SPREADS)
def test_estimator_has_its_known_mean_and_variance(d, rho, name, spread):
    """2,000 probes of one image with d correlated pixels; false alarm 1e-6 for each comparison.

    A probe shared over the batch, or redrawn at each step, would fail one of the two comparisons. The spread is
    known to three digits, 0.3 %.
    """
    draws = 2000
    bits, errors, exact = repeated(d, rho, name, 1, draws)
    assert np.isnan(errors).all()
    assert abs(bits.mean() - exact) < 4.892 * spread / math.sqrt(draws)
    low, high = np.sqrt(stats.chi2.ppf([5e-7, 1 - 5e-7], draws - 1) / (draws - 1))
    # The estimate is a quadratic form of the probe; the variance of its sample variance has a kurtosis term.
    kurtosis = np.mean((bits - bits.mean()) ** 4) / bits.var() ** 2
    widen = math.sqrt(max(kurtosis - 1, 0) / 2)
    ratio = bits.std(ddof=1) / spread
    assert 1 - (1 - low) * widen - 0.003 < ratio < 1 + (high - 1) * widen + 0.003


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rademacher", "orthogonal", "hutchpp"])
def test_the_error_bar_of_a_likelihood_holds(name):
    """For 200 likelihoods with 16 probes, the 95 % interval by Student's t contains the exact value in 91 to 98 %.

    The coverage among 200 lies outside that range for 1.6 % of all seeds; the test of the estimators uses 4,000.
    """
    bits, errors, exact = repeated(64, 0.9, name, 16, 200)
    inside = np.abs(bits - exact) < stats.t.ppf(0.975, 15) * errors
    assert 0.91 <= inside.mean() <= 0.98
