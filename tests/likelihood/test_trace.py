"""Estimators of the trace of a known integrated Jacobian: their mean and variance, and their error bars.

The velocity is M x, whose Jacobian integrates over a unit of time to M. M is that of the probability flow on Gaussian data,
ln(C_T C_eps^{-1}) / 2 for VP and the covariance 0.25 rho^|i - j|, whose quadratic forms have known variances.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy import stats

from score_sde.likelihood.estimators import build_trace_estimator
from score_sde.likelihood.hutch_plus_plus import HutchPlusPlus
from score_sde.likelihood.trace import (
    ExactTrace,
    GivenProbes,
    Integral,
    hadamard_order,
    hadamard_row,
)


def flow_of(d, rho):
    """M, (d, d), with alpha(1)^2 = e^-10.05 and sigma(1e-5)^2 = 1.0010e-6."""
    covariance = 0.25 * rho ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    values, vectors = np.linalg.eigh(covariance)
    at_end, at_eps = np.exp(-10.05) * (values - 1) + 1, values + 1.0009949e-6
    return vectors @ np.diag(0.5 * np.log(at_end / at_eps)) @ vectors.T


def estimate(estimator, matrix, draws, seed=0, dtype=jnp.float32):
    """`draws` estimates of tr M, from keys of their own, with their standard errors and the numbers they come from."""
    matrix, x = jnp.asarray(matrix, dtype), jnp.zeros((draws, len(matrix)), dtype)

    def velocity(x):
        return x @ matrix.T

    def integrate(rates, zeros, vectors, tolerance):
        return Integral(rates(velocity, zeros[:, 0], vectors)[1], jnp.zeros(()), jnp.asarray(True))

    def run(keys):
        drawn = estimator.draw(keys, x, integrate)
        _, rates = estimator.rates(velocity, x, drawn.vectors)
        return *estimator.trace(rates), rates, drawn.vectors

    results = jax.jit(run)(jax.random.split(jax.random.key(seed), draws))
    return [jax.tree.map(np.asarray, result) for result in results]


def build(name, num_probes, dimension, sketch_size=4):
    return build_trace_estimator(name, num_probes, sketch_size, 7, dimension)


def variance_of_one(name, matrix):
    """Of e . M e: 2 |M|_F^2 for normal entries; for signs the diagonal has no part in it."""
    off_diagonal = matrix - (0 if name == "gaussian" else np.diag(np.diag(matrix)))
    return 2 * np.sum(off_diagonal**2)


def sample_deviation_band(values):
    """How far a sample's deviation may be from the law's, at a false alarm of 1e-6: its standard error is
    sqrt((kurtosis - 1) / 4n)."""
    kurtosis = stats.kurtosis(values, fisher=False)
    return 4.892 * np.sqrt((kurtosis - 1) / (4 * len(values)))


@pytest.mark.parametrize(
    ("d", "rho", "name", "num_probes"),
    [
        (16, 0.9, "rademacher", 1),
        (16, 0.9, "gaussian", 10),
        (16, 0.9, "orthogonal", 10),
        (20, 0.8, "rademacher", 10),
        (20, 0.8, "orthogonal", 10),
        *(
            pytest.param(*of, marks=pytest.mark.slow)
            for of in (
                (16, 0.9, "rademacher", 10),
                (16, 0.9, "gaussian", 1),
                (16, 0.9, "orthogonal", 1),
                (20, 0.8, "rademacher", 1),
                (20, 0.8, "gaussian", 1),
                (20, 0.8, "gaussian", 10),
                (20, 0.8, "orthogonal", 1),
            )
        ),
    ],
)
def test_probes_have_their_exact_mean_and_deviation(d, rho, name, num_probes):
    """3,000 estimates: the deviation is 1/sqrt(K) of one probe's, and for K of N orthogonal ones that of a sample
    without replacement, sqrt((N - K) / (N - 1) / K). Ten probes go through chunks of seven. False alarm 1e-6 each.
    """
    matrix = flow_of(d, rho)
    values = estimate(build(name, num_probes, d), matrix, 3000)[0].astype(np.float64)
    variance = variance_of_one(name, matrix) / num_probes
    if name == "orthogonal":
        order = {16: 16, 20: 32}[d]
        variance *= (order - num_probes) / (order - 1)
    deviation = np.sqrt(variance)
    assert abs(values.mean() - np.trace(matrix)) < 4.892 * deviation / np.sqrt(3000)
    assert abs(values.std(ddof=1) / deviation - 1) < sample_deviation_band(values)


@pytest.mark.parametrize("d", [1, 3, 16])
def test_all_orthogonal_probes_are_the_exact_trace(x64, d):
    matrix = np.random.default_rng(0).normal(size=(d, d))
    estimator = build("orthogonal", hadamard_order(d), d)
    values, errors, *_ = estimate(estimator, matrix, 5, dtype=jnp.float64)
    np.testing.assert_allclose(values, np.trace(matrix), rtol=1e-12)
    assert not errors.any()


def test_rows_are_those_of_sylvesters_matrix():
    rows = hadamard_row(jnp.arange(32), 20)
    np.testing.assert_array_equal(rows, scipy.linalg.hadamard(32)[:, :20])


def test_an_antithetic_pair_says_one_thing_twice(x64):
    """e . M e is even in e, so antithetic probes gain nothing and are not offered."""
    matrix, probe = np.random.default_rng(0).normal(size=(6, 6)), np.arange(6.0)
    pair = jnp.asarray(np.stack([probe, -probe]))[None]
    estimator = GivenProbes(2)
    drawn = estimator.draw(pair, jnp.zeros((1, 6)), pytest.fail)
    _, forms = estimator.rates(lambda x: x @ matrix.T, jnp.zeros((1, 6)), drawn.vectors)
    np.testing.assert_array_equal(forms[0, 0], forms[0, 1])
    np.testing.assert_allclose(forms[0, 0], probe @ matrix @ probe, rtol=1e-12)


def test_signs_know_a_diagonal_exactly(x64):
    matrix = np.diag(np.linspace(-1, 3, 5))
    for name in ("rademacher", "orthogonal", "exact"):
        values, errors, *_ = estimate(build(name, 2, 5), matrix, 20, dtype=jnp.float64)
        np.testing.assert_allclose(values, 5.0, rtol=1e-12)
        np.testing.assert_allclose(errors, 0.0, atol=1e-12)


@pytest.mark.parametrize("name", ["rademacher", "gaussian", "orthogonal", "hutchpp"])
def test_error_bars_hold(name):
    """The interval of Student's t with K - 1 degrees of freedom contains the trace in 95 % of 4,000 estimates.

    K = 16 probes, nearly normal sums of 64 x 64 terms. The coverage among 4,000 deviates by 1.7 % at 1e-6; the bounds allow
    as much again for deviations from normality.
    """
    matrix = flow_of(64, 0.9)
    values, errors, *_ = estimate(build(name, 16, 64), matrix, 4000)
    inside = np.abs(values - np.trace(matrix)) < stats.t.ppf(0.975, 15) * errors
    assert 0.92 < inside.mean() < 0.98


@pytest.mark.parametrize("name", ["rademacher", "gaussian", "orthogonal", "hutchpp"])
def test_one_probe_has_no_error_bar(name):
    _, errors, *_ = estimate(build(name, 1, 16), flow_of(16, 0.9), 2)
    assert np.isnan(errors).all()


# ---- Hutch++ ------------------------------------------------------------------------------------------------


def test_hutchpp_estimates_the_rest_on_a_sphere(x64):
    """Given its k directions Q, the rest is B = P M P in n = D - k dimensions, and the 4,000 numbers are u . B u
    for u uniform on the sphere of radius sqrt(n): mean tr B, variance 2 n/(n + 2) (|B|^2 - (tr B)^2 / n)."""
    d, k, num = 20, 4, 4000
    matrix = flow_of(d, 0.9)
    estimator = HutchPlusPlus(k, num, 1000)
    values, _, rates, vectors = estimate(estimator, matrix, 1, dtype=jnp.float64)
    q, rest = vectors[0, :k].T, rates[0, 1:]
    np.testing.assert_allclose(q.T @ q, np.eye(k), atol=1e-12)
    np.testing.assert_allclose(rates[0, 0], np.trace(q.T @ matrix @ q), rtol=1e-10)
    projector = np.eye(d) - q @ q.T
    left, n = projector @ matrix @ projector, d - k
    variance = 2 * n / (n + 2) * (np.sum(left**2) - np.trace(left) ** 2 / n)
    assert abs(rest.mean() - np.trace(left)) < 4.892 * np.sqrt(variance / num)
    assert abs(rest.std(ddof=1) / np.sqrt(variance) - 1) < sample_deviation_band(rest)
    assert values[0] == pytest.approx(rates[0, 0] + rest.mean())


def test_hutchpp_is_unbiased():
    """3,000 sketches, false alarm 1e-6."""
    matrix = flow_of(16, 0.9)
    values = estimate(build("hutchpp", 2, 16), matrix, 3000)[0].astype(np.float64)
    assert abs(values.mean() - np.trace(matrix)) < 4.892 * values.std() / np.sqrt(3000)


def test_hutchpp_finds_the_directions_that_stand_out():
    """With three outliers in 64 dimensions the standard deviation is a tenth of that of as many sign vectors."""
    d = 64
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))[0][:, :3]
    matrix = 2.0 * np.eye(d) + 6.0 * axes @ axes.T
    products = 8 + 8 + 4
    found = estimate(build("hutchpp", 4, d, sketch_size=8), matrix, 1000)[0]
    plain = np.sqrt(variance_of_one("rademacher", matrix) / products)
    assert abs(found.mean() - np.trace(matrix)) < 4.892 * plain / np.sqrt(1000)
    assert found.std() < 0.15 * plain


def test_hutchpp_with_all_directions_is_exact():
    assert build("hutchpp", 1, 16, sketch_size=16) == ExactTrace(7)


# ---- by name ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hadamard", 1, 8, 16, 64), "likelihood.probe='hadamard' is unknown; choose one of rademacher"),
        (("rademacher", 0, 8, 16, 64), "likelihood.num_probes=0: expected 1 or more"),
        (("exact", 1, 8, 0, 64), "likelihood.products_at_once=0: expected 1 or more"),
        (("hutchpp", 1, 0, 16, 64), "likelihood.sketch_size=0: expected 1 or more"),
        (("orthogonal", 65, 8, 16, 64), "64 dimensions have 64 such probes"),
    ],
)  # fmt: skip
def test_unusable_estimators_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        build_trace_estimator(*arguments)
