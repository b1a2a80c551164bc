"""The divergence of velocities with known Jacobians, and the spread of Hutchinson's estimator."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2, norm

from evaluation.divergence import DIVERGENCES, along, exact_trace, gaussian, rademacher
from evaluation.likelihood import log_density
from models.exact import GaussianScore
from samplers.adaptive import AdaptiveSolver
from sde_lib import VP


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 1), (4, 4, 1), (5, 5, 2)])
def test_exact_trace_of_a_velocity_known_by_hand(x64, shape):
    """v(x) = A x + sin x has divergence tr A + sum cos x: fewer dimensions than a chunk takes, one, and three."""
    d = math.prod(shape)
    rng = np.random.default_rng(0)
    matrix, x = rng.normal(size=(d, d)), rng.normal(size=(3, *shape))

    def velocity(x):
        return (x.reshape(3, d) @ jnp.asarray(matrix).T).reshape(x.shape) + jnp.sin(x)

    value, trace = jax.jit(lambda x: exact_trace(velocity, x))(jnp.asarray(x))
    np.testing.assert_allclose(value, velocity(jnp.asarray(x)), rtol=1e-12)
    expected = np.trace(matrix) + np.cos(x).reshape(3, d).sum(axis=1)
    np.testing.assert_allclose(trace, expected, rtol=1e-12, atol=1e-12)


def test_a_probe_takes_its_own_images_jacobian(x64):
    """v = x^2 image by image: e . J e = 2 sum x e^2, with x and e of that image."""
    x, probe = np.random.default_rng(0).normal(size=(2, 5, 2, 3, 1))
    value, estimate = along(jnp.asarray(probe))(lambda x: x**2, jnp.asarray(x))
    np.testing.assert_allclose(value, x**2, rtol=1e-12)
    np.testing.assert_allclose(estimate, (2 * x * probe**2).sum(axis=(1, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize("name", ["rademacher", "gaussian"])
def test_the_estimators_mean_is_the_exact_trace(name):
    """4,000 probes of one Jacobian, false alarm 1e-6."""
    matrix = jnp.asarray(np.random.default_rng(0).normal(size=(6, 6)), jnp.float32)
    x = jnp.zeros((4000, 6))
    keys = jax.random.split(jax.random.key(0), 4000)
    _, estimates = DIVERGENCES[name](keys, x)(lambda x: x @ matrix.T, x)
    _, exact = DIVERGENCES["exact"](keys, x)(lambda x: x @ matrix.T, x)
    np.testing.assert_allclose(exact, np.trace(matrix), rtol=1e-5)
    estimates = np.asarray(estimates, np.float64)
    error = abs(estimates.mean() - np.trace(matrix))
    assert error < 4.892 * estimates.std() / math.sqrt(4000)


@pytest.mark.parametrize("probe", [rademacher, gaussian])
def test_probes_have_identity_covariance(probe):
    """100,000 entries: the mean within 4.9 standard errors of 0, the second moment of 1 (false alarm 1e-6)."""
    keys = jax.random.split(jax.random.key(0), 10)
    draws = np.asarray(probe(keys, jnp.zeros((10, 10_000))), np.float64)
    assert abs(draws.mean()) < 4.892 / math.sqrt(1e5)
    assert abs((draws**2).mean() - 1) <= 4.892 * (draws**2).std() / math.sqrt(1e5) + 1e-12
    # Images share nothing: the largest of 45 correlations of 10,000 entries, again at 1e-6.
    correlations = np.corrcoef(draws)[np.triu_indices(10, 1)]
    assert np.abs(correlations).max() < norm.isf(1e-6 / 90) / math.sqrt(10_000)


# Sigma = 0.25 rho^|i - j|, VP, eps = 1e-5: the standard deviation of bits/dim over probes
SPREADS = [
    (2, 0.8, "rademacher", 0.792), (2, 0.8, "gaussian", 1.581),
    (16, 0.9, "rademacher", 0.383), (16, 0.9, "gaussian", 0.844),
    (64, 0.9, "rademacher", 0.189), (64, 0.9, "gaussian", 0.429),
]  # fmt: skip


@pytest.mark.parametrize(("d", "rho", "name", "spread"), SPREADS)
def test_estimator_has_its_known_mean_and_variance(d, rho, name, spread):
    """2,000 probes of one image of d correlated pixels, false alarm 1e-6 for each comparison.

    A probe that is shared over the batch or drawn again at each step would fail one of the two. The spread is
    known to three digits, 0.3 %; and of a law of two values, as d = 2 has it, a sample's deviation errs at second
    order only, 2 z^2 / 4n = 0.6 %, which the kurtosis does not know.
    """
    draws, sde = 2000, VP()
    covariance = 0.25 * rho ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    model = GaussianScore.create(jnp.zeros(d), jnp.asarray(covariance, jnp.float32), sde)
    x = np.random.default_rng(1).multivariate_normal(np.zeros(d), covariance)
    batch = jnp.broadcast_to(jnp.asarray(x, jnp.float32), (draws, d))

    @jax.jit
    def nats(batch):
        divergence = DIVERGENCES[name](jax.random.split(jax.random.key(4), draws), batch)
        # Coarser than the default: its error is a hundredth of the spread's own.
        return log_density(
            model, sde, batch, divergence, 1e-5, AdaptiveSolver("dopri5", 1e-4, 1e-4)
        ).nats

    bits = -np.asarray(nats(batch), np.float64) / (d * math.log(2))
    eigenvalues, vectors = np.linalg.eigh(covariance)
    alpha2, sigma2 = math.exp(-10.05), -math.expm1(-10.05)
    std = np.sqrt((eigenvalues + 0.0010004971**2) / (alpha2 * eigenvalues + sigma2))
    exact = -norm.logpdf(vectors.T @ x, 0, std).sum() / (d * math.log(2))
    assert abs(bits.mean() - exact) < 4.892 * spread / math.sqrt(draws)
    low, high = np.sqrt(chi2.ppf([5e-7, 1 - 5e-7], draws - 1) / (draws - 1))
    # The estimate is a quadratic form of the probe; the variance of its sample variance has a kurtosis term.
    kurtosis = np.mean((bits - bits.mean()) ** 4) / bits.var() ** 2
    widen = math.sqrt(max(kurtosis - 1, 0) / 2)
    ratio = bits.std(ddof=1) / spread
    assert 1 - (1 - low) * widen - 0.009 < ratio < 1 + (high - 1) * widen + 0.009
