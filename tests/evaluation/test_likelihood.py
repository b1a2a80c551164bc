"""Log-densities against closed forms: Gaussian data, the standard mixture, and Hutchinson's known variance."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2, norm

from evaluation.likelihood import PROBES, log_density
from models.exact import GaussianScore, ProductMixtureScore
from samplers.adaptive import AdaptiveSolver
from sde_lib import VE, VP, SubVP

PROCESSES = [VP(), SubVP(), VE()]
SOLVER = AdaptiveSolver("dopri5", 1e-5, 1e-5)


def density(model, sde, x, probe, eps=1e-5, solver=SOLVER):
    return jax.jit(lambda: log_density(model, sde, x, probe, eps, solver))()


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_diagonal_gaussian_is_exact(sde):
    """A Rademacher probe is exact on a diagonal Jacobian, so only the solver's error is left.

    What comes out is the density of the ODE's own law, whose variance is c_eps prior^2 / c_T and whose mean
    keeps the prior's mismatch (here the data's mean is 0, so none).
    """
    variances = np.linspace(0.05, 2.0, 16)
    model = GaussianScore(jnp.zeros(16), jnp.asarray(variances, jnp.float32), jnp.eye(16), sde)
    x = np.random.default_rng(0).normal(size=(6, 16)) * np.sqrt(variances)
    with jax.enable_x64(True):
        times = jnp.asarray([1e-5, 1.0])
        alpha, sigma = np.asarray(sde.alpha(times)), np.asarray(sde.sigma(times))
    c_eps, c_end = (a**2 * variances + s**2 for a, s in zip(alpha, sigma, strict=True))
    law = norm(0, np.sqrt(c_eps / c_end) * sde.prior_std)
    x32 = jnp.asarray(x, jnp.float32)
    probe = PROBES["rademacher"](jax.random.key(1), x.shape)
    result = density(model, sde, x32, probe)
    bits = (np.asarray(result.nats) - law.logpdf(x).sum(axis=1)) / (16 * math.log(2))
    assert result.success
    # float32 at tolerance 1e-5: 2e-5 over VP's unit range of scales, a few times that over VE's 5,000.
    assert np.abs(bits).max() < (2e-4 if sde == VE() else 2e-5)


# ln p of the ODE's law under VP for the mixture, by the exact pushforward of its quantiles
MIXTURE_NATS = {
    1e-5: (-1.0121454, -2.0712347, -0.1273252),
    1e-3: (-1.0124195, -2.0693665, -0.1277784),
}


@pytest.mark.parametrize("eps", list(MIXTURE_NATS))
def test_mixture_golden_values(x64, eps):
    model = ProductMixtureScore(
        jnp.array([0.3, 0.7]), jnp.array([-1.0, 0.6]), jnp.array([0.04, 0.09]), VP()
    )
    x = jnp.array([[-1.2], [0.0], [0.5]])
    result = density(model, VP(), x, jnp.ones_like(x), eps, AdaptiveSolver("dopri8", 1e-9, 1e-9))
    np.testing.assert_allclose(result.nats, MIXTURE_NATS[eps], atol=2e-7)


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_mixture_images_in_bits_per_dim(sde):
    """At the default tolerance in float32, against the ODE's own law.

    That is the marginal's density, corrected by how the prior differs from the marginal at T where the flow
    ends: for VE, whose prior leaves out the data's mean and variance, 3e-3 bits/dim.
    """
    model = ProductMixtureScore(
        jnp.array([0.3, 0.7]), jnp.array([-1.0, 0.6]), jnp.array([0.04, 0.09]), sde
    )
    rng = np.random.default_rng(0)
    second = rng.random((8, 4, 4, 1)) < 0.7
    x = np.where(
        second, 0.6 + 0.3 * rng.normal(size=second.shape), -1 + 0.2 * rng.normal(size=second.shape)
    )
    x = jnp.asarray(x, jnp.float32)
    result = density(model, sde, x, PROBES["rademacher"](jax.random.key(0), x.shape))
    start, end = jnp.full(8, 1e-5), jnp.full(8, sde.T)
    mismatch = sde.prior_log_density(result.latent) - model.log_density(result.latent, end)
    exact = model.log_density(x, start) + mismatch
    assert np.abs(result.nats - exact).max() / (16 * math.log(2)) < 2e-4


# Sigma = 0.25 rho^|i - j|, VP, eps = 1e-5: the standard deviation of bits/dim over probes
@pytest.mark.parametrize(("probe", "spread"), [("rademacher", 0.383), ("gaussian", 0.844)])
def test_estimator_has_its_known_mean_and_variance(probe, spread):
    """2,000 probes of one image of 16 correlated pixels (rho = 0.9), false alarm 1e-6 for each comparison.

    A probe that is shared over the batch or drawn again at each step would fail one of the two. The spread is
    known to three digits, which widens its band by 0.1 %.
    """
    draws, d, sde = 2000, 16, VP()
    covariance = 0.25 * 0.9 ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    model = GaussianScore.create(jnp.zeros(d), jnp.asarray(covariance, jnp.float32), sde)
    x = np.random.default_rng(1).multivariate_normal(np.zeros(d), covariance)
    batch = jnp.broadcast_to(jnp.asarray(x, jnp.float32), (draws, d))
    keys = jax.random.split(jax.random.key(4), draws)
    probes = jax.vmap(lambda key: PROBES[probe](key, (d,)))(keys)
    bits = -np.asarray(density(model, sde, batch, probes).nats, np.float64) / (d * math.log(2))

    eigenvalues, vectors = np.linalg.eigh(covariance)
    alpha2, sigma2 = math.exp(-10.05), -math.expm1(-10.05)
    c_eps = eigenvalues + 0.0010004971**2
    std = np.sqrt(c_eps / (alpha2 * eigenvalues + sigma2))
    exact = -norm.logpdf(vectors.T @ x, 0, std).sum() / (d * math.log(2))
    assert abs(bits.mean() - exact) < 4.892 * spread / math.sqrt(draws)
    low, high = np.sqrt(chi2.ppf([5e-7, 1 - 5e-7], draws - 1) / (draws - 1))
    # The estimate is a quadratic form of the probe; the variance of its sample variance has a kurtosis term.
    kurtosis = np.mean((bits - bits.mean()) ** 4) / bits.var() ** 2
    widen = math.sqrt((kurtosis - 1) / 2)
    ratio = bits.std(ddof=1) / spread
    assert 1 - (1 - low) * widen - 0.002 < ratio < 1 + (high - 1) * widen + 0.002


@pytest.mark.parametrize("probe", list(PROBES))
def test_probes_have_identity_covariance(probe):
    """100,000 entries: the mean within 4.9 standard errors of 0, the second moment of 1 (false alarm 1e-6)."""
    draws = np.asarray(PROBES[probe](jax.random.key(0), (100_000,)), np.float64)
    assert abs(draws.mean()) < 4.892 / math.sqrt(1e5)
    assert abs((draws**2).mean() - 1) <= 4.892 * (draws**2).std() / math.sqrt(1e5) + 1e-12


def test_cost_is_one_pass_each(x64):
    """Drift and divergence come from one evaluation: the score is traced once in the solver's loop."""
    calls = []
    model = GaussianScore(jnp.zeros(3), jnp.ones(3), jnp.eye(3), VP())

    def counted(x, t):
        calls.append(x.shape)
        return model(x, t)

    x = jnp.ones((2, 3))
    jax.make_jaxpr(lambda x: log_density(counted, VP(), x, x, 1e-3, SOLVER).nats)(x)
    alone = len(calls)
    calls.clear()
    jax.make_jaxpr(
        lambda x: SOLVER.solve(lambda t, x, m: m(x, jnp.full(2, t)), x, 1e-3, 1.0, counted).y
    )(x)
    assert alone == len(calls)
