"""Scores in closed form against autodiff, scipy, quadrature and the Fokker-Planck equation, in float64.

The last ties density, score, drift and diffusion together: it holds for no other scaling of any of them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from numpy.testing import assert_allclose

from score_sde.models.exact import (
    FiniteDataScore,
    GaussianScore,
    MixtureScore,
    ProductMixtureScore,
    UniformScore,
)
from score_sde.models.score import denoise, predicted_noise
from score_sde.sde_lib import SDES, VP, SubVP

ROUNDING = 1e-11  # well-conditioned sums of exponentials lose some hundred roundings of 2e-16

TIMES = np.array([0.05, 0.2, 0.5, 0.9])
POINTS = np.array([[0.3, -0.4], [-1.0, 0.7], [0.1, 1.2], [2.0, -1.5]])

WEIGHTS = np.array([0.3, 0.5, 0.2])
MEANS = np.array([[-1.0, 0.2], [0.6, 0.8], [0.3, -0.9]])
COVARIANCES = np.array(
    [[[0.3, 0.1], [0.1, 0.2]], [[0.1, -0.05], [-0.05, 0.4]], [[0.2, 0.0], [0.0, 0.05]]]
)

# The standard problem of our closed-form tables: bimodal in one dimension, mean .12 and variance .6126.
WEIGHTS_1D, MEANS_1D, VARIANCES_1D = (
    np.array([0.3, 0.7]),
    np.array([-1.0, 0.6]),
    np.array([0.04, 0.09]),
)


pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(params=SDES.values(), ids=SDES.keys())
def sde(request):
    return request.param()


def gaussian(sde):
    return GaussianScore.create(MEANS[0], COVARIANCES[0], sde)


def mixture(sde):
    return MixtureScore.create(WEIGHTS, MEANS, COVARIANCES, sde)


def product(sde):
    return ProductMixtureScore(*map(jnp.asarray, (WEIGHTS_1D, MEANS_1D, VARIANCES_1D)), sde)


def finite(sde):
    return FiniteDataScore(jnp.asarray(MEANS), sde)


def uniform(sde):
    return UniformScore(jnp.asarray(-0.6), jnp.asarray(0.8), sde)


@pytest.fixture(
    params=[gaussian, mixture, product, uniform, finite], ids=lambda build: build.__name__
)
def build(request):
    return request.param


@jax.jit
def evaluate(model, x, t):
    """Score, log-density and its gradient."""

    def total(x):
        log_density = model.log_density(x, t)
        return jnp.sum(log_density), log_density

    gradient, log_density = jax.grad(total, has_aux=True)(x)
    return model(x, t), log_density, gradient


def points_and_times():
    return jnp.asarray(POINTS), jnp.asarray(TIMES)


def marginals(sde, t, mean, covariance):
    """scipy's law of x_t for data N(mean, covariance)."""
    alpha, sigma = float(sde.alpha(jnp.asarray(t))), float(sde.sigma(jnp.asarray(t)))
    covariance = alpha**2 * covariance + sigma**2 * np.eye(len(mean))
    return scipy.stats.multivariate_normal(alpha * mean, covariance)


# ---- score and density -----------------------------------------------------------------------------


def test_score_is_the_gradient_of_the_log_density(sde, build):
    score, _, gradient = evaluate(build(sde), *points_and_times())
    # Against the largest entry: at VE's sigma = .015 the two are sums of terms of that size.
    assert_allclose(score, gradient, rtol=ROUNDING, atol=ROUNDING * float(abs(gradient).max()))


def test_gaussian_log_density(sde):
    x, t = points_and_times()
    law = [marginals(sde, time, MEANS[0], COVARIANCES[0]) for time in TIMES]
    expected = [law.logpdf(point) for law, point in zip(law, POINTS, strict=True)]
    assert_allclose(evaluate(gaussian(sde), x, t)[1], expected, rtol=ROUNDING)


def test_mixture_log_density(sde):
    x, t = points_and_times()
    joint = [
        [marginals(sde, t, *component).logpdf(x) for x, t in zip(POINTS, TIMES, strict=True)]
        for component in zip(MEANS, COVARIANCES, strict=True)
    ]
    expected = scipy.special.logsumexp(joint, b=WEIGHTS[:, None], axis=0)
    assert_allclose(evaluate(mixture(sde), x, t)[1], expected, rtol=ROUNDING)


def test_finite_data_log_density(sde):
    x, t = points_and_times()
    joint = [
        [
            marginals(sde, t, point, np.zeros((2, 2))).logpdf(x)
            for x, t in zip(POINTS, TIMES, strict=True)
        ]
        for point in MEANS
    ]
    expected = scipy.special.logsumexp(joint, axis=0) - np.log(3)
    assert_allclose(evaluate(finite(sde), x, t)[1], expected, rtol=ROUNDING)


def test_a_singular_covariance_is_a_law_too(sde):
    x, t = points_and_times()
    covariance = np.array([[1.0, 2.0], [2.0, 4.0]])
    model = GaussianScore.create(MEANS[0], covariance, sde)
    expected = [
        marginals(sde, t, MEANS[0], covariance).logpdf(x)
        for x, t in zip(POINTS, TIMES, strict=True)
    ]
    # VE's sigma^2 = 2e-4 beside an eigenvalue 5, whose own rounding 1e-15 decides the short axis.
    assert_allclose(evaluate(model, x, t)[1], expected, rtol=1e-10)


# ---- the models agree with each other --------------------------------------------------------------


def same(one, other, x, t, rtol=ROUNDING):
    (score, log_density, _), (expected, expected_log_density, _) = (
        evaluate(one, x, t),
        evaluate(other, x, t),
    )
    assert_allclose(log_density, expected_log_density, rtol=rtol)
    assert_allclose(score, expected, rtol=rtol, atol=rtol * float(abs(expected).max()))


def test_one_component_is_the_gaussian(sde):
    one = MixtureScore.create(np.ones(1), MEANS[:1], COVARIANCES[:1], sde)
    same(one, gaussian(sde), *points_and_times())


def test_a_component_may_be_split(sde):
    split = MixtureScore.create(
        np.array([0.3, 0.1, 0.4, 0.2]), MEANS[[0, 1, 1, 2]], COVARIANCES[[0, 1, 1, 2]], sde
    )
    same(split, mixture(sde), *points_and_times())


def test_product_is_a_mixture_of_products(sde):
    pairs = [(i, j) for i in range(2) for j in range(2)]
    joint = MixtureScore.create(
        np.array([WEIGHTS_1D[i] * WEIGHTS_1D[j] for i, j in pairs]),
        np.array([[MEANS_1D[i], MEANS_1D[j]] for i, j in pairs]),
        np.array([np.diag([VARIANCES_1D[i], VARIANCES_1D[j]]) for i, j in pairs]),
        sde,
    )
    same(product(sde), joint, *points_and_times())


@pytest.mark.parametrize("variance", [0.0, 1e-13])
def test_finite_data_are_components_without_width(sde, variance):
    covariances = variance * np.broadcast_to(np.eye(2), (3, 2, 2))
    narrow = MixtureScore.create(np.full(3, 1 / 3), MEANS, covariances, sde)
    # sigma^2 >= 2e-4, so a variance v > 0 changes things by v/sigma^2 = 5e-10.
    same(finite(sde), narrow, *points_and_times(), rtol=max(ROUNDING, 1e4 * variance))


def test_images_are_flattened(build):
    x, t = points_and_times()
    model = build(VP())
    score, log_density, _ = evaluate(model, x, t)
    of_images, log_density_of_images, _ = evaluate(model, x.reshape(4, 1, 2, 1), t)
    assert_allclose(of_images, score.reshape(4, 1, 2, 1), rtol=1e-13)
    assert_allclose(log_density_of_images, log_density, rtol=1e-13)


def test_finite_data_may_be_images():
    x, t = points_and_times()
    images = FiniteDataScore(jnp.asarray(MEANS).reshape(3, 1, 2, 1), VP())
    score, _, _ = evaluate(images, x.reshape(4, 1, 2, 1), t)
    assert_allclose(score.reshape(4, 2), evaluate(finite(VP()), x, t)[0], rtol=1e-13)


# ---- denoising -------------------------------------------------------------------------------------


def test_gaussian_denoiser_in_closed_form(sde):
    """D = mu + alpha Sigma C^{-1} (x - alpha mu), the regression of x_0 on x_t."""
    rng = np.random.default_rng(0)
    mean, root = rng.standard_normal(4), rng.standard_normal((4, 4))
    covariance = root @ root.T
    x, t = rng.standard_normal((3, 4)), jnp.asarray([0.05, 0.4, 0.9])
    denoised = denoise(sde, GaussianScore.create(mean, covariance, sde)(x, t), jnp.asarray(x), t)
    for i in range(3):
        alpha, sigma = float(sde.alpha(t[i])), float(sde.sigma(t[i]))
        marginal = alpha**2 * covariance + sigma**2 * np.eye(4)
        expected = mean + alpha * covariance @ np.linalg.solve(marginal, x[i] - alpha * mean)
        # Tweedie divides by alpha, .01 for VP at .9, after a cancellation of that size.
        assert_allclose(denoised[i], expected, rtol=1e-10)


def test_gaussian_posterior_covariance(sde):
    """sigma^2 / alpha dD/dx = sigma^2 Sigma C^{-1}: the second order of Tweedie's formula, for any covariance."""
    model, (x, t) = gaussian(sde), points_and_times()

    def denoised(x, t):
        return denoise(sde, model(x[None], t[None]), x[None], t[None])[0]

    jacobians = jax.jit(jax.vmap(jax.jacfwd(denoised)))(x, t)
    for jacobian, time in zip(np.asarray(jacobians), TIMES, strict=True):
        alpha, sigma = float(sde.alpha(jnp.asarray(time))), float(sde.sigma(jnp.asarray(time)))
        marginal = alpha**2 * COVARIANCES[0] + sigma**2 * np.eye(2)
        expected = sigma**2 * COVARIANCES[0] @ np.linalg.inv(marginal)
        # Tweedie divides by alpha^2, 1e-4 for VP at .9, after a cancellation of that size.
        assert_allclose(sigma**2 / alpha * jacobian, expected, rtol=1e-9, atol=1e-10)


# (mean, variance) of the data, process: KL(p_T || prior) of a direction in nats
MISMATCH = [
    ((0.5, 0.25), "vp", 5.3985e-6),
    ((0.5, 0.25), "subvp", 5.3996e-6),
    ((0.5, 0.25), "ve", 5.00025e-5),
    ((0.0, 1.0), "vp", 0.0),
    ((0.0, 1.0), "subvp", 4.66e-10),
    ((0.0, 1.0), "ve", 3.999e-8),
]


@pytest.mark.parametrize(("law", "name", "kl"), MISMATCH)
def test_what_the_prior_leaves_out(law, name, kl):
    """E[ln p_T - ln prior] by a Gauss-Hermite rule, exact for the quadratic that the difference is."""
    sde, (mean, variance) = SDES[name](), law
    model = GaussianScore.create(jnp.full(1, mean), variance * jnp.eye(1), sde)
    end = jnp.full(3, sde.T)
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    alpha, sigma = float(sde.alpha(end)[0]), float(sde.sigma(end)[0])
    x = jnp.asarray(alpha * mean + np.sqrt(alpha**2 * variance + sigma**2) * nodes)[:, None]
    difference = model.log_density(x, end) - sde.prior_log_density(x)
    # Each logarithm is rounded at 1e-15; the values compared with have six digits, or three.
    assert weights @ np.asarray(difference) / weights.sum() == pytest.approx(
        kl, rel=2e-3, abs=1e-14
    )
    if kl > 1e-6:
        assert weights @ np.asarray(difference) / weights.sum() == pytest.approx(kl, rel=1e-5)


@pytest.mark.parametrize("time", [0.1, 0.3, 0.7])
def test_posterior_by_quadrature(sde, time):
    """Mean and variance of x_0 given x_t = x from Bayes' rule on a grid: Tweedie's first and second order."""
    model, t = product(sde), jnp.asarray([time])
    alpha, sigma = float(sde.alpha(t)[0]), float(sde.sigma(t)[0])
    # The rule converges exponentially: 1e-3 is 20 times finer than the narrowest width, VE's .02 at t = .1.
    x0 = np.linspace(-5.0, 5.0, 10_001)
    prior = scipy.stats.norm.pdf(x0[:, None], MEANS_1D, np.sqrt(VARIANCES_1D)) @ WEIGHTS_1D

    @jax.jit
    @jax.value_and_grad
    def denoised(x):
        x = x[None, None]
        return denoise(sde, model(x, t), x, t)[0, 0]

    for x in alpha * np.array([-1.1, -0.2, 0.9]):
        posterior = prior * scipy.stats.norm.pdf(x, alpha * x0, sigma)
        posterior /= posterior.sum()
        mean = posterior @ x0
        variance = posterior @ (x0 - mean) ** 2
        value, slope = denoised(jnp.asarray(x))
        assert_allclose(value, mean, rtol=1e-9)
        assert_allclose(sigma**2 / alpha * slope, variance, rtol=1e-9)


def test_signal_and_noise_make_up_the_state(sde):
    x, t = points_and_times()
    score = evaluate(mixture(sde), x, t)[0]
    signal = sde.alpha(t)[:, None] * denoise(sde, score, x, t)
    noise = sde.sigma(t)[:, None] * predicted_noise(sde, score, t)
    assert_allclose(signal + noise, x, rtol=1e-12, atol=1e-12)


def test_denoiser_of_a_point_knows_it(sde):
    x, t = points_and_times()
    point = FiniteDataScore(jnp.asarray(MEANS[:1]), sde)
    score = evaluate(point, x, t)[0]
    denoised = denoise(sde, score, x, t)
    # x + sigma^2 score cancels to alpha x_0, and alpha may be .01.
    assert_allclose(denoised, np.broadcast_to(MEANS[0], (4, 2)), rtol=1e-12)
    noise = (POINTS - np.asarray(sde.alpha(t))[:, None] * MEANS[0]) / np.asarray(sde.sigma(t))[
        :, None
    ]
    assert_allclose(predicted_noise(sde, score, t), noise, rtol=1e-12)


# ---- the processes move the density ----------------------------------------------------------------


def test_fokker_planck(sde):
    """d ln p/dt = -div u - u.score, where u is the drift of the process corrected for its noise.

    u = f x - g^2/2 score for the forward process. A member of the reverse family runs in reverse time, so its
    noise counts with the other sign: u = drift_h + (h g)^2/2 score, for every h.
    """
    model = mixture(sde)

    def velocities(x, t):
        x, t = x[None], t[None]
        score = model(x, t)
        yield sde.drift(x, t)[0] - 0.5 * sde.diffusion(t) ** 2 * score[0]
        for h in (0.0, 0.6, 1.0, 1.7):
            drift = sde.reverse_drift(x, t, score, h)[0]
            yield drift + 0.5 * sde.reverse_diffusion(t, h) ** 2 * score[0]

    def both_sides(x, t):
        rate = jax.grad(lambda t: model.log_density(x[None], t[None])[0])(t)
        flows = jnp.stack(list(velocities(x, t)))
        jacobians = jax.jacfwd(lambda x: jnp.stack(list(velocities(x, t))))(x)
        transport = jnp.trace(jacobians, axis1=1, axis2=2) + flows @ model(x[None], t[None])[0]
        return jnp.full_like(transport, rate), -transport

    rate, transport = jax.jit(jax.vmap(both_sides))(*points_and_times())
    # div u and u.score cancel where both are large: VE at t = .05 has scores of 20 and a Laplacian of 400.
    assert_allclose(transport, rate, rtol=1e-10, atol=1e-10)


def test_cdf(sde):
    x, t = points_and_times()
    alpha, sigma = np.asarray(sde.alpha(t))[:, None, None], np.asarray(sde.sigma(t))[:, None, None]
    stds = np.sqrt(alpha**2 * VARIANCES_1D + sigma**2)
    expected = scipy.stats.norm.cdf(POINTS[..., None], alpha * MEANS_1D, stds) @ WEIGHTS_1D
    assert_allclose(product(sde).cdf(x, t), expected, rtol=ROUNDING)


@pytest.mark.parametrize(
    ("eps", "expected"),
    [(1e-5, [-1.0121454, -2.0712347, -0.1273252]), (1e-3, [-1.0124195, -2.0693665, -0.1277784])],
)
def test_likelihood_of_the_flow_by_its_quantile_map(eps, expected):
    """ln p(x) = ln N(z; 0, I) + ln p_eps(x) - ln p_T(z) with z at the quantile of x: our closed-form table.

    Its values come from scipy (7 decimals); they hold cdf, log_density and the prior of VP together.
    """
    sde = VP()
    model = product(sde)
    evaluate = jax.jit(lambda x, t: (model.cdf(x, t)[:, 0], model.log_density(x, t)))

    def cdf_and_log_density(x, t):
        cdf, log_density = evaluate(jnp.asarray([[x]]), jnp.asarray([t]))
        return float(cdf[0]), float(log_density[0])

    for x, value in zip([-1.2, 0.0, 0.5], expected, strict=True):
        quantile, at_data = cdf_and_log_density(x, eps)
        z = scipy.optimize.brentq(
            lambda z, quantile=quantile: cdf_and_log_density(z, 1.0)[0] - quantile,
            -9.0,
            9.0,
            xtol=1e-14,
        )
        _, at_prior = cdf_and_log_density(z, 1.0)
        prior = float(sde.prior_log_density(jnp.asarray([[z]]))[0])
        assert_allclose(prior + at_data - at_prior, value, rtol=0, atol=6e-8)


def test_moments_of_the_standard_mixture():
    """The density without noise has the mean and variance of the table's problem."""
    x = np.linspace(-6.0, 6.0, 6001)[:, None]
    density = np.exp(evaluate(product(VP()), jnp.asarray(x), jnp.full(len(x), 1e-9))[1])
    density /= density.sum()
    mean = density @ x[:, 0]
    assert_allclose(mean, 0.12, rtol=1e-8)  # alpha differs from 1 by 5e-11
    assert_allclose(density @ (x[:, 0] - mean) ** 2, 0.6126, rtol=1e-8)


# ---- float32 and compilation -----------------------------------------------------------------------


def test_float32(build):
    """Near the data and far away, where a naive sum of exponentials would underflow to 0."""
    x = np.concatenate([POINTS[:2], 300.0 * POINTS[:2]]).astype(np.float32)
    t = np.array([0.01, 0.5, 0.01, 0.5], np.float32)
    low_model = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), build(SubVP()))
    # Both have the float32 parameters, so that only the arithmetic differs.
    high_model = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), low_model)
    low, low_log_density, _ = evaluate(low_model, jnp.asarray(x), jnp.asarray(t))
    high, log_density, _ = evaluate(high_model, jnp.float64(x), jnp.float64(t))
    assert low.dtype == low_log_density.dtype == jnp.float32
    assert np.all(np.isfinite(high))
    assert np.all(np.isfinite(log_density))
    # alpha mean and x are of order 1 and rounded at 6e-8, sub-VP's sigma(.01) is .002: their difference is good
    # to 3e-5 of sigma, and the log-density to its square times |x|/sigma.
    scale = np.max(np.abs(high), axis=1, keepdims=True)
    assert np.all(np.abs(low - high) <= 1e-4 * scale)
    assert_allclose(low_log_density, log_density, rtol=1e-4)


def test_no_product_is_rounded_to_fewer_bits_than_its_factors():
    """As GPUs do in products of float32 that do not ask for more."""

    def everything(model, x, t):
        return evaluate(model, x, t), model.denoised(x, t)

    for build in (gaussian, mixture, finite):
        program = jax.jit(everything).lower(build(VP()), *points_and_times()).as_text()
        products = [line for line in program.splitlines() if "dot_general" in line]
        assert products
        assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


def test_other_parameters_do_not_retrace(build):
    traces = []

    @jax.jit
    def score(model, x, t):
        traces.append(None)
        return model(x, t)

    x, t = points_and_times()
    model = build(VP())
    first = score(model, x, t)
    second = score(jax.tree.map(lambda leaf: leaf + 0.01, model), x, t)
    assert len(traces) == 1
    assert not np.allclose(first, second)
