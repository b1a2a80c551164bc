"""Imputation, MCG, RePaint and DDRM: exact distributions on Gaussian data, where each is affine in its noise, in float64.

The reference is a recursion of matrices in NumPy with closed forms of the processes, and closed-form limits.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from score_sde.errors import ConfigError
from score_sde.evaluation.affine_law import affine_law
from score_sde.measurements.axes import grey
from score_sde.measurements.matrices import LinearFunction, Matrix
from score_sde.measurements.measurement import Measurement
from score_sde.models.exact import GaussianScore
from score_sde.samplers.correctors import annealed_langevin
from score_sde.samplers.ddrm import DDRM, restoring
from score_sde.samplers.grids import log_snr_grid, uniform_grid
from score_sde.samplers.imputation import MCG, Imputation, RePaint, imputing
from score_sde.samplers.noise import IndexedNoise, RecordedNoise
from score_sde.samplers.predictors import ancestral_forward, batch_times, euler_maruyama
from score_sde.sde_lib import VP
from tests.samplers.closed_forms import FAST_VP, QUICK_PROCESSES, closed_form
from tests.samplers.gaussian_law import MU, SIGMA

A = np.array([[1.0, 0.5, -0.3], [0.2, -1.0, 0.8]])
Y = np.array([0.7, -0.4])
EPS, STEPS = 1e-3, 8
CORRELATED = np.array([[1.0, 0.8], [0.8, 1.0]])


def restored(build, sde, std=0.0, matrix=A, mean=MU, covariance=SIGMA):
    model = GaussianScore.create(jnp.asarray(mean), jnp.asarray(covariance), sde)
    return build(model, Measurement.of(Matrix.of(matrix, (len(mean),)), std), sde)


def law_of(sampler, score, slots, y=Y, num_steps=STEPS):
    grid = uniform_grid(1.0, EPS, num_steps)
    return affine_law(sampler, score, grid, (score.measurement.linear.shape), {"measured": jnp.asarray(y)}, slots)  # fmt: skip


class Here:
    """What the recursions need of a time, of Gaussian data."""

    def __init__(self, sde, t):
        form = closed_form(sde, t)
        self.alpha, self.sigma = form.alpha, form.sigma
        # x_hat = D x + d
        gain = self.alpha * SIGMA @ np.linalg.inv(self.alpha**2 * SIGMA + self.sigma**2 * np.eye(3))
        self.denoiser, self.offset = gain, MU - self.alpha * gain @ MU


# Known and unknown parts: projections on A's rows, and what is known in the former.
ROWS = np.linalg.pinv(A) @ A
REST, KNOWN = np.eye(3) - ROWS, np.linalg.pinv(A) @ Y


def moved(law, matrix, b, covariance):
    return matrix @ law[0] + b, matrix @ law[1] @ matrix.T + covariance


def ancestral(now, then):
    """Matrix, offset and variance of ancestral sampling, from the denoiser: score = (alpha x_hat - x) / sigma^2."""
    a = now.alpha / then.alpha
    variance = now.sigma**2 - a**2 * then.sigma**2
    slope = (now.alpha * now.denoiser - np.eye(3)) / now.sigma**2
    return (
        (np.eye(3) + variance * slope) / a,
        variance * now.alpha * now.offset / now.sigma**2 / a,
        variance,
    )


def put_in(law, then):
    return moved(law, REST, then.alpha * KNOWN, then.sigma**2 * ROWS)


def start(sde):
    return np.zeros(3), closed_form(sde, 1.0).prior_std ** 2 * np.eye(3)


def times(sde):
    grid = [Here(sde, t) for t in np.linspace(1.0, EPS, STEPS + 1)]
    return zip(grid[:-1], grid[1:], strict=True)


@pytest.mark.parametrize("jump", [1, 2])
@pytest.mark.parametrize("sde", FAST_VP, ids=repr)
def test_repaint_by_recursion(x64, sde, jump):
    """Three repetitions of each step, or of each pair of steps, with rows of A that are not single pixels."""
    law, steps = start(sde), list(times(sde))
    for k in range(0, STEPS, jump):
        begins, ends = steps[k][0], steps[k + jump - 1][1]
        a = begins.alpha / ends.alpha
        for repetition in range(3):
            if repetition:
                more = begins.sigma**2 - a**2 * ends.sigma**2
                law = moved(law, a * np.eye(3), 0.0, more * np.eye(3))
            for now, then in steps[k : k + jump]:
                matrix, b, variance = ancestral(now, then)
                law = put_in(moved(law, matrix, b, variance * np.eye(3)), then)
    score, told = restored(imputing, sde), {"measured": jnp.asarray(Y)}
    grid, slots = uniform_grid(1.0, EPS, STEPS), 3 * (2 * jump + 1)
    got = affine_law(RePaint(sde, 3, jump=jump), score, grid, (3,), told, slots, together=jump)
    for one, other in zip(got, law, strict=True):
        assert_allclose(one, other, atol=1e-11)


@pytest.mark.parametrize("sde", QUICK_PROCESSES, ids=repr)
def test_imputation_by_recursion(x64, sde):
    """Ancestral sampling with two Langevin steps after each, and the known values imputed three times."""
    law = start(sde)
    for now, then in times(sde):
        matrix, b, variance = ancestral(now, then)
        law = put_in(moved(law, matrix, b, variance * np.eye(3)), then)
        h = 2 * (now.alpha / then.alpha * 0.2 * then.sigma) ** 2
        slope = (then.alpha * then.denoiser - np.eye(3)) / then.sigma**2
        for _ in range(2):
            b = h * then.alpha * then.offset / then.sigma**2
            law = put_in(moved(law, np.eye(3) + h * slope, b, 2 * h * np.eye(3)), then)
    sampler = Imputation(sde, ancestral_forward, annealed_langevin, 0.2, 2)
    got = law_of(sampler, restored(imputing, sde), slots=6)
    for one, other in zip(got, law, strict=True):
        assert_allclose(one, other, atol=1e-11)


@pytest.mark.parametrize("sde", QUICK_PROCESSES, ids=repr)
def test_mcg_by_recursion(x64, sde):
    """The step towards the measurement uses the previous state, 2 alpha = .3; without it MCG is imputation."""
    law = start(sde)
    for now, then in times(sde):
        matrix, b, variance = ancestral(now, then)
        pull = 0.3 * now.denoiser.T @ A.T
        matrix, b = matrix - pull @ A @ now.denoiser, b + pull @ (Y - A @ now.offset)
        law = put_in(moved(law, matrix, b, variance * np.eye(3)), then)
    score = restored(imputing, sde)
    for one, other in zip(law_of(MCG(sde, scale=0.3), score, 2), law, strict=True):
        assert_allclose(one, other, atol=1e-11)
    none, plain = (
        law_of(sampler, score, 2)
        for sampler in (MCG(sde, scale=0.0), Imputation(sde, ancestral_forward))
    )
    for one, other in zip(none, plain, strict=True):
        assert_allclose(one, other, atol=1e-14)


def test_the_law_of_imputation_is_not_the_posterior(x64):
    """Two numbers of correlation .8, the first of them 1: .5 and .4944 in the limit, where the posterior has .8 and .36."""
    score = restored(imputing, VP(), 0.0, np.array([[1.0, 0.0]]), np.zeros(2), CORRELATED)
    one = np.ones(1)
    got = law_of(Imputation(VP(), euler_maruyama), score, 2, one, 1000)
    assert (got.mean[1], got.covariance[1, 1]) == pytest.approx((0.50030, 0.49536), abs=0.6e-5)
    limit = (1 - np.sqrt(1 - 0.64)) / 0.8, 0.36 / 1.6 * np.log(1.8 / 0.2)
    assert (got.mean[1], got.covariance[1, 1]) == pytest.approx(limit, abs=1.1e-3)


def test_mcg_is_led_too_far(x64):
    """It reaches 1 / .8, the value for which 1 would be expected, with a variance that falls with every step; the posterior has .8 and .36."""
    score = restored(imputing, VP(), 0.0, np.array([[1.0, 0.0]]), np.zeros(2), CORRELATED)
    told, variances = {"measured": jnp.ones(1)}, []
    for steps in (400, 800):
        grid = log_snr_grid(VP(), 1.0, EPS, steps)
        got = affine_law(MCG(VP()), score, grid, (2,), told, 2)
        assert got.mean[1] == pytest.approx(1 / 0.8, abs=1e-4)
        variances.append(got.covariance[1, 1])
    assert variances == pytest.approx([0.1120, 0.0821], abs=1e-4)


def langevin_of_the_batch(score, sde, x, t, a, z, snr):
    """The published corrector, whose norms are the batch's: of two numbers a score alone is 0 too often."""
    gradient = score(x, batch_times(x, t))
    lengths = [jnp.mean(jnp.linalg.norm(part, axis=1)) for part in (z, gradient)]
    step = 2.0 * jnp.square(snr * lengths[0] / lengths[1])
    return x + step * gradient + jnp.sqrt(2.0 * step) * z


@pytest.mark.slow
def test_a_corrector_mends_it():
    """One Langevin step at each of 1,000 times: mean .79308 and variance .37129 by another program. It is not affine, so 1,500
    samples are drawn: each of the two is 4.9 standard errors off once in a million."""
    n = 1500
    score = restored(imputing, VP(), 0.0, np.array([[1.0, 0.0]]), np.zeros(2), CORRELATED)
    told, like = {"measured": jnp.ones((n, 1))}, jnp.zeros((n, 2))
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(n))
    sampler, grid = (
        Imputation(VP(), euler_maruyama, langevin_of_the_batch),
        uniform_grid(1.0, EPS, 1000),
    )
    x = np.asarray(jax.jit(lambda score: sampler(score, grid, noise, like).x)(score.given(told)))[
        :, 1
    ]
    assert x.mean() == pytest.approx(0.79308, abs=4.9 * np.sqrt(0.37129 / n))
    assert x.var() == pytest.approx(0.37129, abs=4.9 * 0.37129 * np.sqrt(2 / n))


@pytest.mark.parametrize("to_data", [False, True])
@pytest.mark.parametrize("std", [0.0, 0.3])
@pytest.mark.parametrize("sde", QUICK_PROCESSES, ids=repr)
def test_ddrm_by_recursion(x64, sde, std, to_data):
    """The three cases of the paper's equations, a mode at a time, in the basis of NumPy's decomposition."""
    eta, eta_b = 0.7, 0.9
    u, s, vt = np.linalg.svd(A)
    s = np.append(s, 0.0)
    measured = np.append(u.T @ Y, 0.0)
    law, steps = start(sde), list(times(sde))
    for number, (now, then) in enumerate(steps):
        last = to_data and number == STEPS - 1
        alpha, rho = (1.0, 0.0) if last else (then.alpha, then.sigma / then.alpha)
        rho_t = now.sigma / now.alpha
        matrix, b, noise = np.zeros((3, 3)), np.zeros(3), np.zeros(3)
        x_hat, offset, x = vt @ now.denoiser, vt @ now.offset, vt / now.alpha
        for i in range(3):
            if s[i] == 0:
                c = np.sqrt(1 - eta**2) * rho / rho_t
                matrix[i], b[i], noise[i] = (
                    (1 - c) * x_hat[i] + c * x[i],
                    (1 - c) * offset[i],
                    eta * rho,
                )
            elif rho < std / s[i]:
                c = np.sqrt(1 - eta**2) * rho / (std / s[i])
                matrix[i], b[i] = (1 - c) * x_hat[i], (1 - c) * offset[i] + c * measured[i] / s[i]
                noise[i] = eta * rho
            else:
                matrix[i] = (1 - eta_b) * x_hat[i]
                b[i] = (1 - eta_b) * offset[i] + eta_b * measured[i] / s[i]
                noise[i] = np.sqrt(rho**2 - (eta_b * std / s[i]) ** 2)
        matrix, b, spread = (alpha * vt.T @ part for part in (matrix, b, np.diag(noise)))
        law = moved(law, matrix, b, spread @ spread.T)
    sampler, score = DDRM(sde, eta, eta_b, to_data), restored(restoring, sde, std)
    grid, told = uniform_grid(1.0, EPS, STEPS), {"measured": jnp.asarray(Y)}
    got = affine_law(sampler, score, grid, (3,), told, 1, together=STEPS)
    for one, other in zip(got, law, strict=True):
        assert_allclose(one, other, atol=1e-10)


def test_ddrm_without_noise_ends_with_what_was_measured(x64):
    """A x_0 = y up to rounding."""
    score = restored(restoring, VP()).given({"measured": jnp.asarray(Y)[None]})
    noise = RecordedNoise(jnp.ones((1, 3)), jnp.asarray(np.random.default_rng(0).standard_normal((STEPS, 1, 1, 3))))  # fmt: skip
    run = jax.jit(lambda score: DDRM(VP(), to_data=True)(score, uniform_grid(1.0, EPS, STEPS), noise, jnp.ones((1, 3))).x)  # fmt: skip
    assert_allclose(run(score) @ A.T, Y[None], atol=1e-13)


def test_colours_are_put_in_as_grey(x64):
    """The final gray value of the state is that of y at that time, whatever the sampler did, as in Song et al.'s colorization."""
    shape = (2, 2, 3)
    model = GaussianScore.create(jnp.zeros(12), jnp.eye(12) + 0.5, VP())
    measurement = Measurement.of(grey(shape), 0.0)
    y = jnp.arange(4.0).reshape(1, 2, 2, 1)
    score = imputing(model, measurement, VP()).given({"measured": y})
    z = np.random.default_rng(0).standard_normal((4, 2, 1, *shape))
    z[-1, 1] = 0.0  # of what is put in at the end
    noise, x = RecordedNoise(jnp.ones((1, *shape)), jnp.asarray(z)), jnp.ones((1, *shape))
    grid = uniform_grid(1.0, EPS, 4)
    run = jax.jit(lambda score: Imputation(VP(), ancestral_forward)(score, grid, noise, x).x)
    got = np.asarray(run(score))
    assert_allclose(
        got.mean(axis=-1, keepdims=True), float(VP().alpha(jnp.asarray(EPS))) * y, atol=1e-12
    )
    assert np.abs(got - got.mean(axis=-1, keepdims=True)).min() > 1e-4


def test_evaluations():
    assert Imputation(VP(), ancestral_forward).nfe(10) == 10
    assert Imputation(VP(), ancestral_forward, annealed_langevin, 0.1, 3).nfe(10) == 40
    assert (MCG(VP()).nfe(10), MCG(VP()).jacobian_products(10)) == (10, 10)
    assert (RePaint(VP(), 4).nfe(10), DDRM(VP()).nfe(10)) == (40, 10)
    jumps = RePaint(VP(), 4, jump=5)
    assert jumps.nfe(jumps.num_steps(uniform_grid(1.0, EPS, 10))) == 40


def test_what_they_refuse():
    linear = LinearFunction.of(lambda x: x[:1], (3,))
    for build, measurement, words in (
        (imputing, Measurement.of(Matrix.of(A, (3,)), 0.1), "imputation with sigma_y=0.1"),
        (imputing, Measurement.of(linear, 0.0), "imputation needs the singular values"),
        (restoring, Measurement.of(linear, 0.0), "DDRM needs the singular values"),
    ):
        with pytest.raises(ConfigError, match=words):
            build(None, measurement, VP())
    with pytest.raises(ConfigError, match="repeats=0"):
        RePaint(VP(), 0)
    with pytest.raises(ConfigError, match="jump=3 along a grid of 10 steps"):
        RePaint(VP(), jump=3).num_steps(uniform_grid(1.0, EPS, 10))
    with pytest.raises(ConfigError, match="eta=1.5"):
        DDRM(VP(), eta=1.5)
