"""Scores given a measurement against joint Gaussian densities, and distributions of samples against a table, in float64."""

from functools import partial

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose

from score_sde.errors import UserError
from score_sde.evaluation.affine_law import affine_law
from score_sde.guidance.classifier_free import ClassifierFree
from score_sde.guidance.combinations import Extrapolated
from score_sde.guidance.exact_posterior import exact_posterior
from score_sde.guidance.likelihood_score import dps, mmps, pigdm, solve, tmpd
from score_sde.guidance.posterior import jacobian_products_of
from score_sde.guidance.proximal import ddnm, diffpir
from score_sde.measurements.matrices import LinearFunction, Matrix
from score_sde.measurements.measurement import Measurement
from score_sde.models.exact import FiniteDataScore, GaussianScore, MixtureScore, UniformScore
from score_sde.models.one_by_one import OneByOne
from score_sde.models.score import WithoutCondition, denoise, each_alone, evaluations_of
from score_sde.restoration.draws import all_products
from score_sde.samplers.grids import log_snr_grid, uniform_grid
from score_sde.samplers.noise import RecordedNoise
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import PREDICTORS, tweedie
from score_sde.samplers.problem import Configured
from score_sde.samplers.sde import ReverseSDE
from score_sde.sde_lib import VE, VP, SubVP
from tests.models.class_gaussians import ClassGaussians, labels
from tests.samplers.closed_forms import closed_form

SUB_VP = SubVP()  # whose sigma^2 + alpha^2 is not 1
SDES = [VP(), VE()]
RNG = np.random.default_rng(1)
D = 3
MEANS = RNG.standard_normal((2, D))
ROOTS = RNG.standard_normal((2, D, D))
COVARIANCES = ROOTS @ ROOTS.transpose(0, 2, 1) + 0.1 * np.eye(D)
WEIGHTS = np.array([0.3, 0.7])
A = np.array([[1.0, 0.5, -0.3], [0.2, -1.0, 0.8]])
STD = 0.4
X, T = 0.7 * RNG.standard_normal((2, D)), np.array([0.4, 0.15])
Y = X @ A.T + 0.3
MEASURED = {"measured": Y}


def observed(matrix=A, std=STD):
    return Measurement.of(Matrix.of(matrix, (np.shape(matrix)[1],)), std)


def gaussian(sde, mean=MEANS[0], covariance=COVARIANCES[0]):
    return GaussianScore.create(jnp.asarray(mean), jnp.asarray(covariance), sde)


@jax.jit
def asked(score, condition, x, t):
    return score.given(condition)(x, t)


def evaluate(score, condition=MEASURED, x=X, t=T):
    """One program for all scores of a kind."""
    return asked(score, condition, jnp.asarray(x), t)


# ---- the oracle against the joint law of x_t and y ---------------------------------------------------


def log_normal(off, covariance):
    return jax.scipy.stats.multivariate_normal.logpdf(off, jnp.zeros(len(off)), covariance)


@jax.jit
@partial(jax.vmap, in_axes=(0, 0, 0, 0, None, None, None, None))
@jax.grad
def joint_score(x, y, alpha, sigma, a, weights, means, covariances):
    """The gradient in each x of ln p(x_t, y), a mixture of Gaussians of D + m numbers."""

    def log_component(w, mean, s):
        across = alpha * s @ a.T
        whole = jnp.block(
            [
                [alpha**2 * s + sigma**2 * jnp.eye(D), across],
                [across.T, a @ s @ a.T + STD**2 * jnp.eye(2)],
            ]
        )
        return jnp.log(w) + log_normal(jnp.concatenate([x - alpha * mean, y - a @ mean]), whole)

    return jax.nn.logsumexp(jax.vmap(log_component)(weights, means, covariances))


FAMILIES = {
    "gaussian": (gaussian, [1.0], MEANS[:1], COVARIANCES[:1]),
    "mixture": (
        lambda sde: MixtureScore.create(jnp.asarray(WEIGHTS), jnp.asarray(MEANS), jnp.asarray(COVARIANCES), sde),
        WEIGHTS, MEANS, COVARIANCES,
    ),
    "points": (lambda sde: FiniteDataScore(jnp.asarray(MEANS), sde), [0.5, 0.5], MEANS, np.zeros((2, D, D))),
    "weighted points": (
        lambda sde: FiniteDataScore(jnp.asarray(MEANS), sde, jnp.asarray(WEIGHTS)),
        WEIGHTS, MEANS, np.zeros((2, D, D)),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("sde", "family"),
    [*((sde, "gaussian") for sde in SDES), *((SUB_VP, name) for name in FAMILIES)],
)
def test_the_oracle_is_the_gradient_of_the_joint_density(x64, sde, family):
    build, weights, means, covariances = FAMILIES[family]
    oracle = exact_posterior(build(sde), observed(), sde)
    at = closed_form(sde, T)
    law = map(np.asarray, (weights, means, covariances))
    scales = (np.broadcast_to(part, T.shape) for part in (at.alpha, at.sigma))
    expected = joint_score(X, Y, *scales, A, *law)
    assert_allclose(evaluate(oracle), expected, rtol=1e-10)
    evidence = [
        w * scipy.stats.multivariate_normal(A @ m, A @ s @ A.T + STD**2 * np.eye(2)).pdf(Y[0])
        for w, m, s in zip(weights, means, covariances, strict=True)
    ]
    log_evidence = jax.jit(lambda oracle, y: oracle.log_evidence(y))(oracle, jnp.asarray(Y[0]))
    assert_allclose(log_evidence, np.log(sum(evidence)), rtol=1e-12)


@pytest.mark.parametrize("family", ["gaussian", "mixture"])
def test_no_product_of_the_oracle_is_rounded_to_fewer_bits_than_its_factors(family):
    """As GPUs do in products of float32 that do not ask for more."""
    oracle = exact_posterior(FAMILIES[family][0](SUB_VP), observed(), SUB_VP)
    laws = jax.jit(lambda oracle, y: (oracle.law(y), oracle.log_evidence(y)))
    program = laws.lower(oracle, jnp.asarray(Y[0])).as_text()
    products = [line for line in program.splitlines() if "dot_general" in line]
    assert products
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


def test_an_oracle_without_noise_knows_what_it_saw(x64):
    """sigma_y = 0 with one of three numbers measured twice: the posterior does not vary along A, and fits y."""
    matrix = np.vstack([A, A[:1]])
    oracle = exact_posterior(gaussian(VP()), observed(matrix, 0.0), VP())
    y = matrix @ X[0]
    law = jax.tree.map(np.asarray, oracle.law(jnp.asarray(y)))
    covariance = (law.eigenvectors * law.eigenvalues) @ law.eigenvectors.T
    assert_allclose(matrix @ law.mean, y, atol=1e-12)
    assert_allclose(matrix @ covariance, 0.0, atol=1e-13)
    s = COVARIANCES[0]
    expected = s - s @ A.T @ np.linalg.solve(A @ s @ A.T, A @ s)
    assert_allclose(covariance, expected, atol=1e-12)


# ---- when a method is exact --------------------------------------------------------------------------


@pytest.mark.parametrize("sde", SDES, ids=repr)
def test_mmps_is_the_oracle_on_gaussian_data(x64, sde):
    """Exact after as many iterations as measured numbers, and after more, but not before."""
    measurement, model = observed(), gaussian(sde)
    oracle = evaluate(exact_posterior(model, measurement, sde))
    for iterations in (2, 6):
        assert_allclose(evaluate(mmps(model, measurement, sde, iterations)), oracle, rtol=1e-9)
    early = evaluate(mmps(model, measurement, sde, 1))
    assert np.abs(early - oracle).max() > 1e-3 * np.abs(oracle).max()


def test_mmps_in_float32():
    """Within 1e-4 of the largest entry of the float64 oracle, also at the end, where sigma is .01."""
    x, t = X.astype(np.float32), np.array([1e-3, 0.4], np.float32)
    told = {"measured": jnp.asarray(Y, jnp.float32)}
    got = evaluate(mmps(gaussian(VP()), observed(), VP()), told, x, t)
    assert got.dtype == jnp.float32
    with jax.enable_x64(True):
        expected = evaluate(
            exact_posterior(gaussian(VP()), observed(), VP()),
            MEASURED,
            x.astype(float),
            t.astype(float),
        )
    assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


def test_its_jacobian_is_the_oracles(x64):
    """By forward differentiation, which likelihoods use for the divergence."""

    @jax.jit
    def jacobian(score):
        def ask(x):
            return score.given({"measured": jnp.asarray(Y[:1])})(x[None], jnp.asarray(T[:1]))[0]

        return jax.jacfwd(ask)(jnp.asarray(X[0]))

    model = gaussian(VP())
    got, expected = (
        jacobian(score)
        for score in (mmps(model, observed(), VP(), 2), exact_posterior(model, observed(), VP()))
    )
    assert_allclose(got, expected, rtol=1e-8)


def test_tmpd_is_exact_for_uncorrelated_measurements(x64):
    """One measured number of correlated data, or two if A V A^T is diagonal; not otherwise."""
    sde = SUB_VP
    one, told = observed(A[:1]), {"measured": jnp.asarray(Y[:, :1])}
    model = gaussian(sde)
    assert_allclose(
        evaluate(tmpd(model, one, sde), told),
        evaluate(exact_posterior(model, one, sde), told),
        rtol=1e-10,
    )
    apart = gaussian(sde, covariance=np.diag([0.5, 2.0, 1.0]))
    two = observed(np.array([[1.5, 0.0, 0.0], [0.0, 0.0, -1.0]]))
    assert_allclose(
        evaluate(tmpd(apart, two, sde)), evaluate(exact_posterior(apart, two, sde)), rtol=1e-10
    )
    wrong, oracle = (
        evaluate(tmpd(model, observed(), sde)),
        evaluate(exact_posterior(model, observed(), sde)),
    )
    assert np.abs(wrong - oracle).max() > 1e-3 * np.abs(oracle).max()


def test_pigdm_is_exact_for_the_data_it_assumes(x64):
    """N(m, I), whatever A."""
    sde = SUB_VP
    model = gaussian(sde, covariance=np.eye(D))
    oracle = evaluate(exact_posterior(model, observed(), sde))
    assert_allclose(evaluate(pigdm(model, observed(), sde)), oracle, rtol=1e-10)


def test_dps_is_the_gradient_of_its_likelihood(x64):
    """The gradient of ln N(y; A x_hat, sigma_y^2 I) for a mixture, whose Jacobian depends on x."""
    sde = SUB_VP
    model = FAMILIES["mixture"][0](sde)

    def log_likelihood(x, t):
        score = model(x, t)
        x_hat = denoise(sde, score, x, t)
        each = jax.vmap(log_normal, (0, None))(Y - x_hat @ A.T, STD**2 * jnp.eye(2))
        return jnp.sum(each), score

    guided, alone = jax.jit(jax.grad(log_likelihood, has_aux=True))(jnp.asarray(X), jnp.asarray(T))
    assert_allclose(evaluate(dps(model, observed(), sde)), alone + guided, rtol=1e-9)
    assert_allclose(evaluate(dps(model, observed(), sde, 0.2)), alone + 0.2 * guided, rtol=1e-9)


def test_proximal_steps_are_means_given_y(x64):
    """The denoised image is the mean of N(x_hat, V) given y, V = (sigma/alpha)^2 / lambda, by the Kalman gain; DDNM fits y."""
    sde = SUB_VP
    model = FAMILIES["mixture"][0](sde)
    at = closed_form(sde, T)
    alpha, sigma = at.alpha[:, None], at.sigma[:, None]

    def expected_image(score):
        """By Tweedie's formula."""
        return (X + sigma**2 * np.asarray(score)) / alpha

    x_hat = expected_image(jax.jit(model.__call__)(jnp.asarray(X), jnp.asarray(T)))
    got = expected_image(evaluate(diffpir(model, observed(), sde, weight=3.0)))
    for k in range(2):
        v = (at.sigma[k] / at.alpha[k]) ** 2 / 3.0
        kalman = v * A.T @ np.linalg.inv(v * A @ A.T + STD**2 * np.eye(2))
        assert_allclose(got[k], x_hat[k] + kalman @ (Y[k] - A @ x_hat[k]), rtol=1e-9)
    got = expected_image(evaluate(ddnm(model, observed(std=0.0), sde)))
    assert_allclose(got @ A.T, Y, rtol=1e-10)
    kept = np.eye(D) - np.linalg.pinv(A) @ A
    assert_allclose(got @ kept, x_hat @ kept, atol=1e-10)


def test_ddnm_ends_with_what_was_measured(x64):
    """A x_0 = y to rounding after a short run and a last Tweedie step."""
    sde = SUB_VP
    score = ddnm(FAMILIES["mixture"][0](sde), observed(std=0.0), sde).given(MEASURED)
    sampler = PredictorCorrector(sde, PREDICTORS["ancestral_sampling"], None)
    noise = RecordedNoise(jnp.asarray(X), jnp.asarray(RNG.standard_normal((5, 1, 2, D))))
    grid = uniform_grid(1.0, 1e-3, 5)

    @jax.jit
    def run(score):
        x = sampler(score, grid, noise, jnp.asarray(X)).x
        return tweedie(score, sde, x, grid[-1])

    assert_allclose(run(score) @ A.T, Y, atol=1e-11)


def test_conjugate_gradients(x64):
    """Against a direct solution for each image; from a good start the Euclidean error does not grow with iterations."""
    roots = RNG.standard_normal((3, 4, 4))
    systems = jnp.asarray(roots @ roots.transpose(0, 2, 1) + 0.5 * np.eye(4))
    b = jnp.asarray(RNG.standard_normal((3, 2, 2))).at[2].set(0.0)
    for iterations, unrolled in ((4, False), (4, True), (40, False)):
        got = solve(
            lambda v: jnp.einsum("bij,bj->bi", systems, v.reshape(3, 4)).reshape(3, 2, 2),
            b,
            iterations,
            unrolled,
        )
        expected = np.linalg.solve(systems, np.asarray(b).reshape(3, 4, 1)).reshape(3, 2, 2)
        assert_allclose(got, expected, rtol=1e-8)


def test_conjugate_gradients_end_where_there_is_no_minimum(x64):
    """Of diag(2, -1): from b = (1, 1) the first direction has curvature 1, and the step is twice it; the second, (6, 12), has -72, though
    the residual (-3, 3) has 9. b = (1, 2) has none at first. An image beside them is solved."""
    systems = jnp.asarray([np.diag([2.0, -1.0]), np.diag([2.0, -1.0]), np.diag([2.0, 5.0])])
    b = jnp.asarray([[1.0, 1.0], [1.0, 2.0], [1.0, 2.0]])
    for iterations in (2, 9):
        got = solve(lambda v: jnp.einsum("bij,bj->bi", systems, v), b, iterations)
        assert_allclose(got, [[2.0, 2.0], [0.0, 0.0], [0.5, 0.4]], rtol=1e-12)


def test_conjugate_gradients_end_below_the_least_curvature(x64):
    """Of diag(2, 1/2) with eigenvalues of at least .9: from b = (1, 1) the first direction has curvature 2.5 of 2, and the step is
    4/5 of it; the second, (-.24, .96), has .576 of .9792. b = (1, 2) has 4 of 5 at first. An image beside them is solved."""
    systems = jnp.asarray([np.diag([2.0, 0.5]), np.diag([2.0, 0.5]), np.diag([2.0, 5.0])])
    b = jnp.asarray([[1.0, 1.0], [1.0, 2.0], [1.0, 2.0]])
    for iterations in (2, 9):
        got = solve(lambda v: jnp.einsum("bij,bj->bi", systems, v), b, iterations, least=0.9)
        assert_allclose(got, [[0.8, 0.8], [0.0, 0.0], [0.5, 0.4]], rtol=1e-12)


def test_mmps_ends_where_a_covariance_would_be_negative(x64):
    """A network that takes diag(1, -1/2) for V, sigma_y = 1: the system is diag(2, 1/2) of the test above, positive, and less than the
    noise. At x = 0, where x_hat = 0, y = (1, 1) leads to J^T (.8, .8), J = (alpha / sigma^2) V."""
    at = closed_form(VP(), T[:1])
    alpha, variance = at.alpha[0], at.sigma[0] ** 2
    taken = np.array([[1.0, -0.5]])

    def model(x, t):
        x_hat = alpha / variance * taken * x
        return (alpha * x_hat - x) / variance

    score = mmps(model, observed(np.eye(2), 1.0), VP(), 2).given({"measured": jnp.ones((1, 2))})
    got = jax.jit(score.__call__)(jnp.zeros((1, 2)), jnp.asarray(T[:1]))
    assert_allclose(got, alpha / variance * taken * 0.8, rtol=1e-9)


# ---- the laws of samples -----------------------------------------------------------------------------

# Prior N(0, [[1, .8], [.8, 1]]), y = x_1 + sigma_y n = 1; VP from N(0, I) at T = 1 to 1e-3. Mean (2) and covariance (11, 12, 22) of
# ODE and SDE, integrated elsewhere to the digits given. PiGDM's and DPS's are not the posterior's.
LAWS = {
    ("oracle", 0.5): ((0.797123, 0.636330, 0.200094, 0.159985, 0.488066), (0.799945, 0.639946, 0.200088, 0.159982, 0.488056)),
    ("pigdm", 0.5): ((0.768111, 0.608388, 0.224881, 0.184840, 0.513080), (0.774533, 0.609453, 0.214639, 0.177121, 0.508608)),
    ("dps", 0.5): ((1.245541, 1.240571, 0.030640, -0.034718, 0.254776), (0.981692, 0.921419, 0.124986, 0.070370, 0.373174)),
    ("oracle", 0.1): ((0.989339, 0.788812, 0.010010, 0.007920, 0.366416), (0.990044, 0.792023, None, None, 0.366406)),
    ("pigdm", 0.1): ((0.973292, 0.749584, 0.014869, 0.019718, 0.396779), (0.984760, 0.754704, 0.010645, 0.011011, 0.386726)),
    ("dps", 0.1): ((1.003588, 1.128365, 0.000136, -0.006103, 0.274267), (1.000012, 0.975122, 0.005002, 0.000148, 0.303927)),
}  # fmt: skip
METHODS = {"oracle": exact_posterior, "mmps": mmps, "tmpd": tmpd, "pigdm": pigdm, "dps": dps}
CORRELATED = np.array([[1.0, 0.8], [0.8, 1.0]])


def correlated(method, std):
    model = gaussian(VP(), np.zeros(2), CORRELATED)
    return METHODS[method](model, observed(np.array([[1.0, 0.0]]), std), VP())


def affine(score, times):
    """K (n, 2, 2) and q (n, 2) of score = K x + q at these times, from its values at 0 and at unit vectors."""
    x = np.tile(np.eye(3, 2, -1), (len(times), 1))
    out = evaluate(score, {"measured": np.ones((len(x), 1))}, x, np.repeat(times, 3))
    out = np.asarray(out).reshape(-1, 3, 2)
    return (out[:, 1:] - out[:, :1]).transpose(0, 2, 1), out[:, 0]


def continuous_laws(scores, steps=4000):
    """Moments of the ODE and the SDE of these scores, (scores, 2, 5), by Runge-Kutta's method in u = sqrt(t).

    dm/dt = f m - h g^2 (K m + q), dV/dt = M V + V M^T - n g^2 with M = f - h g^2 K; h = 1/2 and n = 0, or h = n = 1.
    """
    u = np.linspace(1.0, np.sqrt(1e-3), 2 * steps + 1)
    times = u**2
    both = [affine(score, times) for score in scores]
    k, q = (
        np.stack([np.repeat(part[:, None], 2, 1) for part in parts], axis=1)
        for parts in zip(*both, strict=True)
    )
    k, q = (part.reshape(len(u), -1, *part.shape[3:]) for part in (k, q))
    g2 = 0.1 + 19.9 * times  # beta
    f = -0.5 * g2
    h, n = np.tile([0.5, 1.0], len(scores)), np.tile([0.0, 1.0], len(scores))

    def slope(i, state):
        matrix = f[i] * np.eye(2) - g2[i] * h[:, None, None] * k[i]
        mean = np.einsum("aij,aj->ai", matrix, state[:, 2]) - g2[i] * h[:, None] * q[i]
        spread = matrix @ state[:, :2]
        spread = spread + spread.transpose(0, 2, 1) - g2[i] * n[:, None, None] * np.eye(2)
        return 2 * u[i] * np.concatenate([spread, mean[:, None]], axis=1)

    state = np.tile(
        np.eye(3, 2), (2 * len(scores), 1, 1)
    )  # covariance in the first two rows, mean in the last
    step = u[2] - u[0]
    for i in range(0, 2 * steps, 2):
        a = slope(i, state)
        b = slope(i + 1, state + step / 2 * a)
        c = slope(i + 1, state + step / 2 * b)
        d = slope(i + 2, state + step * c)
        state = state + step / 6 * (a + 2 * b + 2 * c + d)
    numbers = np.stack(
        [state[:, 2, 0], state[:, 2, 1], state[:, 0, 0], state[:, 0, 1], state[:, 1, 1]], 1
    )
    return numbers.reshape(len(scores), 2, 5)


def test_limit_laws(x64):
    """MMPS and TMPD have the oracle's distribution, since one number is measured; a wrong method has its own known answer."""
    names = [(method, std) for std in (0.5, 0.1) for method in METHODS]
    found = continuous_laws([correlated(*name) for name in names])
    for (method, std), got in zip(names, found, strict=True):
        of = "oracle" if method in ("mmps", "tmpd") else method
        for law, expected in zip(got, LAWS[of, std], strict=True):
            for number, digits in zip(law, expected, strict=True):
                assert digits is None or abs(number - digits) < 0.6e-6, (method, std, law)


@pytest.mark.slow
def test_a_sampler_has_pigdms_law(x64):
    """By ShARK, of weak order 2, extrapolated from two grids; not the posterior's, whose mean is .8 and .64."""
    sampler, score = ReverseSDE(VP(), "shark"), correlated("pigdm", 0.5)
    coarse, fine = (
        affine_law(sampler, score, log_snr_grid(VP(), 1.0, 1e-3, n), (2,), {"measured": jnp.ones(1)}, slots=2)
        for n in (100, 200)
    )  # fmt: skip
    limit = [f + (f - c) / 3 for c, f in zip(coarse, fine, strict=True)]
    got = [*limit[0], *limit[1][np.triu_indices(2)]]
    assert_allclose(got, LAWS["pigdm", 0.5][1], atol=1e-5)


# ---- as score models ---------------------------------------------------------------------------------


def test_what_is_bound():
    """y is bound along with the model's condition, one per image, and replaced by a new binding."""
    classes = ClassGaussians(jnp.array([0.5, -1.0, 0.0]), jnp.array([0.25, 0.04, 1.0]), VP())
    told = {"measured": jnp.asarray(Y, jnp.float32), **labels(0, 1)}
    x, t = jnp.asarray(X, jnp.float32), jnp.asarray(T, jnp.float32)
    score = pigdm(classes, observed(), VP()).given(told)
    assert set(score.condition) == {"measured", "label"}
    of_class = [
        pigdm(classes.alone(k, D), observed(), VP()).given({"measured": told["measured"]})
        for k in (0, 1)
    ]
    # guidance by classes of what is known of the image already, and the other way round
    outer = ClassifierFree(score, Extrapolated(0.0))
    inner = pigdm(ClassifierFree(classes, Extrapolated(0.0)), observed(), VP()).given(told)

    @jax.jit
    def every(x, t):
        alone = each_alone(lambda score, x, t: score(x, t), score, x, t)[:, 0]
        same = [OneByOne(score)(x, t), alone, outer(x, t), inner(x, t)]
        return score(x, t), same, [one(x, t) for one in of_class]

    got, same, apart = every(x, t)
    for other in (*same, [apart[k][k] for k in (0, 1)]):
        assert_allclose(other, got, rtol=1e-4)
    assert score.given(()).condition == ()
    assert (evaluations_of(outer), evaluations_of(inner)) == (2, 2)


def watched(rows):
    """x -> x, of which each product with the Jacobian's transpose that reaches the host adds its number of images."""

    @jax.custom_vjp
    def same(x):
        return x

    def back(_, v):
        jax.debug.callback(lambda: rows.append(len(v)))
        return (v,)

    same.defvjp(lambda x: (x, None), back)
    return same


@pytest.mark.parametrize(
    ("method", "products"),
    [(dps, 1), (pigdm, 1), (tmpd, 2), (mmps, 6), (diffpir, 0)],
    ids=lambda m: getattr(m, "__name__", m),
)
def test_products_are_counted(method, products):
    calls = []
    through = watched(calls)

    class Watched(WithoutCondition):
        def __call__(self, x, t):
            return -through(x)

    score = method(Watched(), observed(), VP())
    told = {"measured": jnp.asarray(Y, jnp.float32)}
    jax.block_until_ready(
        score.given(told)(jnp.asarray(X, jnp.float32), jnp.asarray(T, jnp.float32))
    )
    jax.effects_barrier()
    assert (
        len(calls)
        == products
        == jacobian_products_of(score)
        == jacobian_products_of(OneByOne(score))
    )
    assert evaluations_of(score) == 1


def test_products_go_through_both_halves_of_guidance():
    """Each product of the method counts as two, since both halves of the batch are differentiated."""
    rows = []
    through = watched(rows)

    @flax.struct.dataclass
    class Watched(ClassGaussians):
        def __call__(self, x, t):
            return super().__call__(through(x), t)

    classes = Watched(jnp.array([0.5, -1.0, 0.0]), jnp.array([0.25, 0.04, 1.0]), VP())
    model = ClassifierFree(classes, Extrapolated(1.0))
    score = dps(model, observed(), VP())
    told = {"measured": jnp.asarray(Y, jnp.float32), **labels(0, 1)}
    x, t = jnp.asarray(X, jnp.float32), jnp.asarray(T, jnp.float32)
    jax.block_until_ready(score.given(told)(x, t))
    jax.effects_barrier()
    configured = Configured(None, None, {}, denoises=False)
    products = all_products(configured, score, model, nfe=2.0)  # one call
    assert sum(rows) / len(x) == products == 2


BAD = {
    "DPS with sigma_y=0": lambda: dps(None, observed(std=0.0), VP()),
    "DDNM with sigma_y=0.4": lambda: ddnm(None, observed(), VP()),
    "lambda=0": lambda: diffpir(None, observed(), VP(), weight=0.0),
    "0 iterations": lambda: mmps(None, observed(), VP(), iterations=0),
    "PiGDM needs the singular values": lambda: pigdm(
        None, Measurement.of(LinearFunction.of(lambda x: x[:1], (D,)), 0.1), VP()
    ),
    "posterior of UniformScore is not known": lambda: exact_posterior(
        UniformScore(jnp.zeros(()), jnp.ones(()), VP()), observed(), VP()
    ),
    "finite set with sigma_y=0": lambda: exact_posterior(
        FiniteDataScore(jnp.asarray(MEANS), VP()), observed(std=0.0), VP()
    ),
    r"was measured has the shape \(3,\)": lambda: tmpd(gaussian(VP()), observed(), VP()).given(
        {"measured": jnp.ones((2, 3))}
    ),
}


@pytest.mark.parametrize("words", BAD)
def test_what_cannot_be_guided_so_is_refused(words):
    with pytest.raises(UserError, match=words):
        BAD[words]()


def test_a_score_that_was_told_nothing():
    with pytest.raises(ValueError, match="no measurement is bound"):
        tmpd(gaussian(VP()), observed(), VP())(
            jnp.asarray(X, jnp.float32), jnp.asarray(T, jnp.float32)
        )
