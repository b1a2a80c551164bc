"""Ancestral sampling with the optimal variance is exact on isotropic Gaussian data for any number of steps.

The reference is the distribution of the reverse SDE, which keeps the mismatch of the prior at T: with c = alpha^2 l + sigma^2
and K = (c_eps / c_T)(alpha_T / alpha_eps), a start of mean 0 and variance pi^2 ends with mean (alpha_eps - K alpha_T) mu and
variance c_eps + K^2 (pi^2 - c_T).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.models.exact import GaussianScore, ProductMixtureScore
from score_sde.samplers.grids import power_grid, uniform_grid
from score_sde.samplers.noise import RecordedNoise
from score_sde.samplers.optimal_variance import OptimalVariance, error_of_norm
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.sde_lib import VE, VP
from tests.fast_cases import product_where
from tests.samplers.closed_forms import FAST_VP, PROCESSES, QUICK_PROCESSES, closed_form

MEAN, VARIANCE, EPS, D = 0.5, 0.25, 1e-3, 2

GRIDS = [
    lambda n: uniform_grid(1.0, EPS, n),
    lambda n: power_grid(1.0, EPS, n, 2.0),
    lambda n: jnp.asarray([1.0, *np.geomspace(0.9, 0.002, n - 1), EPS]),
]


def marginal_variance(sde, t, variance=VARIANCE):
    here = closed_form(sde, t)
    return here.alpha**2 * variance + here.sigma**2


def gaussian_error(sde, t, variance=VARIANCE):
    """m = alpha^2 l / c, the posterior variance of x_0 in units of (sigma / alpha)^2."""
    return closed_form(sde, t).alpha ** 2 * variance / marginal_variance(sde, t, variance)


def table(sde, times, variance=VARIANCE):
    """The predictor for data of this variance."""
    times = sorted(float(t) for t in times)
    return OptimalVariance(tuple(times), tuple(gaussian_error(sde, t, variance) for t in times))


def law(sde, predictor, *grids):
    """Mean (D,) and covariance (D, D) of the sampler's output, which is affine in its noise, along each grid."""
    num_steps, dtype = len(grids[0]) - 1, grids[0].dtype
    score = GaussianScore.create(jnp.full(D, MEAN), VARIANCE * jnp.eye(D), sde)
    sampler = PredictorCorrector(sde, predictor, None)

    def sample(noise, grid):
        recorded = RecordedNoise(noise[:1], noise[1:].reshape(num_steps, 1, 1, D))
        return sampler(score, grid, recorded, jnp.zeros((1, D), dtype)).x[0]

    @jax.jit
    def value_and_jacobian(grid):
        zero = jnp.zeros((1 + num_steps, D), dtype)
        return sample(zero, grid), jax.jacrev(sample)(zero, grid).reshape(D, -1)

    laws = [map(np.asarray, value_and_jacobian(grid)) for grid in grids]
    return [(mean, jacobian @ jacobian.T) for mean, jacobian in laws]


def reverse_sde_law(sde, t_end=EPS):
    start, end = closed_form(sde, 1.0), closed_form(sde, t_end)
    c_start, c_end = marginal_variance(sde, 1.0), marginal_variance(sde, t_end)
    gain = c_end / c_start * start.alpha / end.alpha
    mean = (end.alpha - gain * start.alpha) * MEAN
    return mean, c_end + gain**2 * (start.prior_std**2 - c_start)


@pytest.mark.parametrize(
    ("sde", "num_steps"),
    product_where(lambda *case: case in [(VP(), 1), (VP(), 7), (VE(), 7)], PROCESSES, [1, 2, 7]),
    ids=str,
)
def test_exact_for_every_number_of_steps_on_every_grid(x64, sde, num_steps):
    grids = [make(num_steps) for make in GRIDS]
    one_table = table(sde, {float(t) for grid in grids for t in grid})
    expected_mean, expected = reverse_sde_law(sde)
    for mean, covariance in law(sde, one_table, *grids):
        # Round-off of the largest numbers on the way, which are 2,500 (VE) and 1 / alpha(1)^2 = 23,000.
        np.testing.assert_allclose(covariance, expected * np.eye(D), rtol=0, atol=5e-12)
        np.testing.assert_allclose(mean, np.full(D, expected_mean), rtol=0, atol=5e-12)


def test_the_tabulated_law_of_one_step(x64):
    [(mean, covariance)] = law(VP(), table(VP(), [1.0]), uniform_grid(1.0, EPS, 1))
    assert mean[0] == pytest.approx(0.4999671, abs=0.51e-7)
    assert covariance[0, 0] == pytest.approx(0.2500825, abs=0.51e-7)


@pytest.mark.parametrize("sde", FAST_VP, ids=repr)
def test_float32(sde):
    times = uniform_grid(1.0, EPS, 7)
    [(mean, covariance)] = law(sde, table(sde, times), times)
    assert covariance.dtype == np.float32
    expected_mean, expected = reverse_sde_law(sde)
    np.testing.assert_allclose(covariance, expected * np.eye(D), rtol=0, atol=2e-5)
    np.testing.assert_allclose(mean, np.full(D, expected_mean), rtol=0, atol=2e-4)


@pytest.mark.parametrize("sde", FAST_VP, ids=repr)
def test_one_table_serves_other_grids(x64, sde):
    """Linear interpolation of m: at 200 levels of equal log-SNR its error is of second order, 1e-3 at most."""
    ends = sde.log_snr(jnp.asarray([EPS, 1.0]))
    levels = sde.time_of_log_snr(jnp.linspace(ends[0], ends[1], 200))
    [(_, covariance)] = law(sde, table(sde, levels), uniform_grid(1.0, EPS, 7))
    _, expected = reverse_sde_law(sde)
    assert covariance[0, 0] == pytest.approx(expected, rel=1e-3)
    # What the errors at the levels are in between, by the closed form m = alpha^2 l / c.
    middle = sde.time_of_log_snr(jnp.linspace(ends[0], ends[1], 399)[1::2])
    exact = [gaussian_error(sde, t) for t in np.asarray(middle)]
    # |m''| <= 0.097 of the logistic curve that m is of the log-SNR, times step^2 / 8
    bound = 0.097 * float((ends[0] - ends[1]) / 199) ** 2 / 8
    np.testing.assert_allclose(table(sde, levels).error(sde, middle), exact, rtol=0, atol=bound)


# ---- the variance itself ---------------------------------------------------------------------------

STEPS = [(1.0, 1e-3), (0.9, 0.5), (0.5, 0.45), (0.02, 0.019), (0.3, 1e-4)]


def numbers(sde, t, s):
    """a^2, tau^2, sigma_t^2, sigma_s^2."""
    now, then = closed_form(sde, t), closed_form(sde, s)
    a2 = (now.alpha / then.alpha) ** 2
    return a2, now.sigma**2 - a2 * then.sigma**2, now.sigma**2, then.sigma**2


@pytest.mark.parametrize(("t", "s"), STEPS)
@pytest.mark.parametrize("sde", QUICK_PROCESSES, ids=repr)
def test_variance_of_gaussian_data(x64, sde, t, s):
    """tau^2 c_s / c_t for data of any variance l; tau^2 at l = 1 (VP), beta~ at l = 0."""
    _, tau2, sigma2_t, sigma2_s = numbers(sde, t, s)

    def variance(of_data):
        return float(table(sde, [t], of_data).variance(sde, jnp.asarray(t), jnp.asarray(s)))

    for of_data in (0.0, 0.04, 0.25, 1.0, 3.0):
        ratio = marginal_variance(sde, s, of_data) / marginal_variance(sde, t, of_data)
        assert variance(of_data) == pytest.approx(tau2 * ratio, rel=1e-10)
    assert variance(0.0) == pytest.approx(tau2 * sigma2_s / sigma2_t, rel=1e-10)
    if sde == VP():
        assert variance(1.0) == pytest.approx(tau2, rel=1e-10)


@pytest.mark.parametrize("sde", QUICK_PROCESSES, ids=repr)
def test_the_norm_says_the_error(x64, sde):
    """Gamma = 1 / c and m = alpha^2 l / c for Gaussian data, up to rounding of sigma^2 Gamma, which is near 1."""
    for t in (1e-3, 0.1, 0.5, 1.0):
        norm = 1 / marginal_variance(sde, t)
        error = error_of_norm(sde, jnp.asarray(t), jnp.asarray(norm))
        assert float(error) == pytest.approx(gaussian_error(sde, t), abs=4e-15)


def analytic_dpm(sde, t, s, norm):
    """Bao et al. 2022, Eq. 8 as printed there, for lambda^2 = beta~; alpha_n = a^2, beta-bar = sigma^2."""
    alpha_n, tau2, bar_n, bar_before = numbers(sde, t, s)
    lambda2 = tau2 * bar_before / bar_n
    bracket = np.sqrt(bar_n / alpha_n) - np.sqrt(bar_before - lambda2)
    return lambda2 + bracket**2 * (1 - bar_n * norm)


@pytest.mark.parametrize(("t", "s"), STEPS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_it_is_the_formula_of_analytic_dpm(x64, t, s, share):
    norm = share / closed_form(VP(), t).sigma ** 2
    error = error_of_norm(VP(), jnp.asarray(t), jnp.asarray(norm))
    variance = OptimalVariance((t,), (float(error),)).variance(VP(), jnp.asarray(t), jnp.asarray(s))
    assert float(variance) == pytest.approx(analytic_dpm(VP(), t, s, norm), rel=1e-11)


@pytest.mark.parametrize(("t", "s"), STEPS)
@pytest.mark.parametrize("sde", QUICK_PROCESSES, ids=repr)
def test_bounds_of_theorem_two(x64, sde, t, s):
    """An estimate outside the bounds, from noise or a bad model, is clipped: to beta~, or to the value without information on x_0."""
    a2, tau2, sigma2_t, sigma2_s = numbers(sde, t, s)
    low, high = tau2 * sigma2_s / sigma2_t, tau2 / a2

    def variance(error, **options):
        predictor = OptimalVariance((t,), (error,), **options)
        return float(predictor.variance(sde, jnp.asarray(t), jnp.asarray(s)))

    assert variance(-0.3) == pytest.approx(low, rel=1e-11)
    assert variance(1.4) == pytest.approx(high, rel=1e-11)
    assert low < variance(0.5) < high
    # For data in [a, b]: (sqrt(alpha-bar_s) - sqrt(sigma_s^2 - beta~) sqrt(alpha-bar_t) / sigma_t)^2 ((b - a) / 2)^2 above it.
    alpha_t, alpha_s = closed_form(sde, t).alpha, closed_form(sde, s).alpha
    weight = alpha_s - np.sqrt(sigma2_s - low) * alpha_t / np.sqrt(sigma2_t)
    for half in (0.5, 1.0):
        of_range = low + weight**2 * half**2
        assert variance(1.4, half_range=half) == pytest.approx(min(high, of_range), rel=1e-10)


def test_a_step_is_one_evaluation():
    calls = []

    def score(x, t):
        calls.append(t)
        return -x

    x = jnp.ones((2, 3))
    table(VE(), [0.5])(score, VE(), x, jnp.asarray(0.5), jnp.asarray(0.4), x)
    assert len(calls) == 1


def test_any_shape_of_images():
    """All pixels are treated alike: (2, 3, 1) images behave like (6,) vectors."""
    score = ProductMixtureScore(jnp.ones(1), jnp.full(1, MEAN), jnp.full(1, VARIANCE), VP())
    x, z = jax.random.normal(jax.random.key(0), (2, 4, 2, 3, 1))
    t, s = jnp.asarray(0.5), jnp.asarray(0.4)
    predictor = table(VP(), [0.5])
    images = predictor(score, VP(), x, t, s, z)
    vectors = predictor(score, VP(), x.reshape(4, 6), t, s, z.reshape(4, 6))
    np.testing.assert_allclose(images.reshape(4, 6), vectors, rtol=1e-6)
    assert hash(predictor) == hash(table(VP(), [0.5]))


@pytest.mark.parametrize(
    ("times", "errors", "half_range", "message"),
    [
        ((), (), 1.0, "0 times with 0 denoising errors"),
        ((0.1, 0.2), (0.5,), 1.0, "2 times with 1 denoising errors"),
        ((0.2, 0.1), (0.5, 0.5), 1.0, "must be positive and increasing"),
        ((0.0, 0.1), (0.5, 0.5), 1.0, "must be positive and increasing"),
        ((0.1, 0.2), (0.5, float("nan")), 1.0, "must be finite"),
        ((0.1,), (0.5,), 0.0, "half_range=0.0: expected a positive number"),
    ],
)
def test_unusable_tables_are_refused(times, errors, half_range, message):
    with pytest.raises(ValueError, match=message):
        OptimalVariance(times, errors, half_range)
