"""Log-densities against closed forms: Gaussian data with any covariance, and the standard mixture."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from score_sde.data.scaling import bits_per_dim_offset
from score_sde.likelihood.hutch_plus_plus import HutchPlusPlus
from score_sde.likelihood.log_density import log_density
from score_sde.likelihood.trace import ExactTrace, GivenProbes, IndependentProbes
from score_sde.models.exact import GaussianScore, ProductMixtureScore
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.sde_lib import VE, VP, SubVP


def processes(fast):
    """One process in the fast run: each test has another, and together they have all."""
    return [
        pytest.param(sde, id=repr(sde), marks=() if sde == fast else pytest.mark.slow)
        for sde in (VP(), SubVP(), VE())
    ]


SOLVER = AdaptiveSolver("dopri5", 1e-5, 1e-5)


SIGNS = IndependentProbes()


def density(model, sde, x, estimator, eps=1e-5, solver=SOLVER, keys=None):
    keys = jax.random.split(jax.random.key(1), len(x)) if keys is None else keys
    return jax.jit(lambda x: log_density(model, sde, x, estimator, keys, eps, solver))(x)


@pytest.mark.parametrize("sde", processes(SubVP()))
def test_diagonal_gaussian_is_exact(sde):
    """A Rademacher probe is exact for a diagonal Jacobian, so only the solver's error remains.

    The result is the density of the ODE's own distribution, with variance c_eps prior^2 / c_T and a mean that keeps the
    mismatch of the prior (none here, since the data have mean 0).
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
    result = density(model, sde, x32, SIGNS)
    bits = (np.asarray(result.nats) - law.logpdf(x).sum(axis=1)) / (16 * math.log(2))
    assert result.success.all()
    # float32 at tolerance 1e-5: 2e-5 over VP's unit range of scales, a few times that over VE's 5,000.
    assert np.abs(bits).max() < (2e-4 if sde == VE() else 2e-5)


# ln p of the ODE's law under VP for the mixture, by the exact pushforward of its quantiles
MIXTURE_NATS = {
    1e-5: (-1.0121454, -2.0712347, -0.1273252),
    1e-3: (-1.0124195, -2.0693665, -0.1277784),
}


@pytest.mark.parametrize("eps", [1e-5, pytest.param(1e-3, marks=pytest.mark.slow)])
def test_mixture_golden_values(x64, eps):
    model = ProductMixtureScore(
        jnp.array([0.3, 0.7]), jnp.array([-1.0, 0.6]), jnp.array([0.04, 0.09]), VP()
    )
    x = jnp.array([[-1.2], [0.0], [0.5]])
    result = density(model, VP(), x, ExactTrace(), eps, AdaptiveSolver("dopri8", 1e-9, 1e-9))
    np.testing.assert_allclose(result.nats, MIXTURE_NATS[eps], atol=2e-7)


@pytest.mark.slow
@pytest.mark.parametrize("sde", [VP(), SubVP(), VE()], ids=repr)
def test_mixture_images_in_bits_per_dim(sde):
    """At the default tolerance in float32, against the ODE's own distribution.

    That is the marginal density, corrected by the ratio of prior and marginal at the latent: 3e-3 bits/dim for VE, whose
    prior ignores the mean and variance of the data.
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
    result = density(model, sde, x, SIGNS)
    start, end = jnp.full(8, 1e-5), jnp.full(8, sde.T)
    mismatch = sde.prior_log_density(result.latent) - model.log_density(result.latent, end)
    exact = model.log_density(x, start) + mismatch
    assert np.abs(result.nats - exact).max() / (16 * math.log(2)) < 2e-4


# ---- data whose coordinates are correlated: the Jacobian of the flow is not diagonal -------------------


def correlated(d, rho=0.9):
    """0.25 rho^|i - j|, (d, d)."""
    return 0.25 * rho ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))


def times_of(sde, eps):
    """alpha^2 and sigma^2 at eps and at T, in float64."""
    with jax.enable_x64(True):
        times = jnp.asarray([eps, sde.T])
        return np.asarray(sde.alpha(times)) ** 2, np.asarray(sde.sigma(times)) ** 2


def own_law(sde, covariance, eps):
    """What the flow makes of the prior on centred data: covariance prior^2 C_eps C_T^{-1}."""
    alpha2, sigma2 = times_of(sde, eps)
    at_eps, at_end = (
        a * covariance + s * np.eye(len(covariance)) for a, s in zip(alpha2, sigma2, strict=True)
    )
    return multivariate_normal(cov=sde.prior_std**2 * at_eps @ np.linalg.inv(at_end))


@pytest.mark.slow
@pytest.mark.parametrize("sde", [VP(), SubVP()], ids=repr)
def test_correlated_gaussian_in_float32(sde):
    """20 correlated coordinates, more than one pass of the trace: 2e-5 bits/dim at tolerance 1e-5."""
    covariance = correlated(20)
    model = GaussianScore.create(jnp.zeros(20), jnp.asarray(covariance, jnp.float32), sde)
    x = np.random.default_rng(0).multivariate_normal(np.zeros(20), covariance, size=5)
    result = density(model, sde, jnp.asarray(x, jnp.float32), ExactTrace())
    x = np.asarray(jnp.asarray(x, jnp.float32), np.float64)
    bits = (np.asarray(result.nats) - own_law(sde, covariance, 1e-5).logpdf(x)) / (20 * math.log(2))
    assert result.success.all()
    assert np.abs(bits).max() < 2e-5


@pytest.mark.slow
@pytest.mark.parametrize("sde", [VP(), SubVP(), VE()], ids=repr)
def test_correlated_gaussian_to_float64_tolerance(x64, sde):
    """The log-determinant of the flow, 1/2 sum ln(c_k(eps) / c_k(T)), enters with the prior's density."""
    covariance = correlated(4)
    model = GaussianScore.create(jnp.zeros(4), jnp.asarray(covariance), sde)
    x = np.random.default_rng(0).multivariate_normal(np.zeros(4), covariance, size=5)
    precise = AdaptiveSolver("dopri8", 1e-9, 1e-9)
    result = density(model, sde, jnp.asarray(x), ExactTrace(), 1e-3, precise)
    expected = own_law(sde, covariance, 1e-3).logpdf(x)
    # In nats of four dimensions; the global error is ten to a hundred tolerances.
    np.testing.assert_allclose(result.nats, expected, atol=1e-7)
    map_to_noise = np.sqrt(np.linalg.eigvalsh(own_law(sde, covariance, 1e-3).cov))
    volume = sde.prior_log_density(result.latent) - result.nats
    np.testing.assert_allclose(volume, np.log(map_to_noise / sde.prior_std).sum(), atol=1e-7)


@pytest.mark.parametrize("sde", processes(VE()))
def test_a_probe_sees_the_quadratic_form_of_the_integrated_jacobian(x64, sde):
    """The estimate along e exceeds the exact one by e . M e - tr M, M = ln(C_T C_eps^{-1}) / 2; that of two probes is their mean.

    A probe redrawn at each step, or that of another image, would give another number.
    """
    covariance, eps = correlated(4), 1e-3
    model = GaussianScore.create(jnp.zeros(4), jnp.asarray(covariance), sde)
    rng = np.random.default_rng(0)
    x, probes = rng.multivariate_normal(np.zeros(4), covariance, size=3), rng.normal(size=(3, 2, 4))
    precise = AdaptiveSolver("dopri8", 1e-9, 1e-9)
    found = density(model, sde, jnp.asarray(x), GivenProbes(2), eps, precise, jnp.asarray(probes))
    alpha2, sigma2 = times_of(sde, eps)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    at_eps, at_end = (a * eigenvalues + s for a, s in zip(alpha2, sigma2, strict=True))
    integral = vectors @ np.diag(0.5 * np.log(at_end / at_eps)) @ vectors.T
    forms = np.einsum("bki,ij,bkj->bk", probes, integral, probes)
    expected = own_law(sde, covariance, eps).logpdf(x) + forms.mean(axis=1) - np.trace(integral)
    np.testing.assert_allclose(found.nats, expected, atol=1e-7)
    half = np.abs(forms[:, 0] - forms[:, 1]) / 2
    np.testing.assert_allclose(found.standard_error, half, atol=1e-7)


@pytest.fixture(scope="module")
def of_gaussian():
    """The log-density of two images under VP, compiled once for all variances."""
    keys = jax.random.split(jax.random.key(1), 2)
    return jax.jit(
        lambda model, x: log_density(model, VP(), x, ExactTrace(), keys, 1e-5, SOLVER).nats
    )


# bits/dim of the entropy of N(0, ell), as it is reported for 8-bit images on [-1, 1]
@pytest.mark.parametrize(("ell", "bits"), [(1, 9.0470956), (0.25, 8.0470956), (0.0625, 7.0470956)])
def test_entropy_in_the_units_of_images(of_gaussian, ell, bits):
    """Every image with |x|^2 = D ell costs the entropy, and there the ODE's distribution agrees to second order."""
    model = GaussianScore(jnp.zeros(16), jnp.full(16, ell, jnp.float32), jnp.eye(16), VP())
    x = jnp.sqrt(ell) * jax.random.rademacher(jax.random.key(0), (2, 16), jnp.float32)
    nats = of_gaussian(model, x)
    measured = -np.asarray(nats) / (16 * math.log(2)) + bits_per_dim_offset(256, True)
    np.testing.assert_allclose(measured, bits, atol=2e-5)


class Failed(HutchPlusPlus):
    """Its own solve, the first of two, is said to have failed."""

    def draw(self, keys, x, integrate):
        return super().draw(keys, x, integrate)._replace(success=jnp.asarray(False))


def test_a_solve_of_the_estimator_counts_and_may_fail():
    """Evaluations of both solves, counted on the host."""
    calls = []
    model = GaussianScore(jnp.zeros(3), jnp.array([0.2, 1.0, 2.0]), jnp.eye(3), VP())

    def counted(x, t):
        jax.debug.callback(lambda: calls.append(len(x)))
        return model(x, t)

    result = density(counted, VP(), jnp.ones((2, 3)), Failed(1, 2, 16), eps=1e-3)
    jax.effects_barrier()
    assert set(calls) == {2}
    np.testing.assert_array_equal(result.nfe, len(calls))
    assert not result.success.any()


@pytest.mark.parametrize(
    "estimator",
    [SIGNS, pytest.param(ExactTrace(), marks=pytest.mark.slow)],
    ids=["probe", "trace"],
)
def test_cost_is_one_pass_each(estimator):
    """Drift and divergence come from one evaluation: the score is traced once in the solver's loop."""
    calls = []
    model = GaussianScore(jnp.zeros(3), jnp.ones(3), jnp.eye(3), VP())

    def counted(x, t):
        calls.append(x.shape)
        return model(x, t)

    x = jnp.ones((2, 3))
    keys = jax.random.split(jax.random.key(0), 2)
    jax.make_jaxpr(lambda x: log_density(counted, VP(), x, estimator, keys, 1e-3, SOLVER).nats)(x)
    together = len(calls)
    calls.clear()
    times = jnp.asarray([1e-3, 1.0])
    jax.make_jaxpr(
        lambda x: SOLVER.solve(lambda t, x, m: m(x, jnp.full(2, t)), x, times, counted).y
    )(x)
    assert together == len(calls)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"eps": -0.5}, "eps=-0.5: expected a time between 0 and T=1.0"),
        ({"eps": 0.0}, "eps=0.0: expected"),
        ({"eps": 1.0}, "eps=1.0: expected"),
        ({"eps": 1.5}, "eps=1.5: expected"),
        (
            {"keys": jax.random.key(0)},
            r"keys of shape \(\) for images of shape \(2, 3\): expected \(2,\)",
        ),
        ({"keys": jax.random.split(jax.random.key(0), 1)}, r"keys of shape \(1,\)"),
        ({"x": jnp.zeros((0, 3))}, r"images of shape \(0, 3\): expected .* one or more"),
    ],
    ids=["before 0", "0", "T", "after T", "one key of none", "one key of two", "no images"],
)
def test_impossible_requests_are_refused(wrong, message):
    given = {"x": jnp.zeros((2, 3)), "keys": jax.random.split(jax.random.key(0), 2), "eps": 1e-3}
    for each_image in (False, True):
        with pytest.raises(ValueError, match=message):
            log_density(
                lambda x, t: -x,
                VP(),
                estimator=SIGNS,
                solver=SOLVER,
                each_image=each_image,
                **given | wrong,
            )
