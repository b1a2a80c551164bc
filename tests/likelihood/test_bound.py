"""The variational bound against closed-form relative entropies, without randomness; then its error bars."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.test_util import check_grads

from score_sde.likelihood.bound import RESOLVED, bound_sample, continuous_bound
from score_sde.models.exact import GaussianScore, ProductMixtureScore
from score_sde.sde_lib import SDE, SDES, VE, VP, SubVP
from tests.likelihood.quadrature import gaussian_nodes, product, uniform_nodes

EPS = 1e-3


@flax.struct.dataclass
class Scaled:
    """A score that is wrong by a factor."""

    model: GaussianScore
    factor: float

    def __call__(self, x, t):
        return self.factor * self.model(x, t)


@dataclasses.dataclass(frozen=True)
class Own(SDE):
    """VP as a user would write it: two functions of time, and nothing in closed form."""

    def alpha(self, t):
        return jnp.exp(-0.5 * t * (0.1 + 9.95 * t))

    def sigma(self, t):
        return jnp.sqrt(-jnp.expm1(-t * (0.1 + 9.95 * t)))

    @property
    def prior_std(self):
        return 1.0


def gaussian(mean, variance, sde):
    return GaussianScore(jnp.full(1, mean), jnp.full(1, variance), jnp.eye(1), sde)


def exact_bound(score, sde, mean, root, eps=EPS, order=100):
    """The mean of the bound over data mean + root @ normal; the integrand is a polynomial but for the log-SNR."""
    dimension = len(mean)
    normal, z, u, weights = product(
        gaussian_nodes(dimension), gaussian_nodes(dimension), uniform_nodes(order)
    )
    x0 = mean + normal @ root.T
    bounds = jax.jit(lambda *nodes: bound_sample(score, sde, *nodes, eps))(x0, u, z)
    return weights @ np.asarray(bounds)


def moments(sde, mean, variance, t):
    alpha, sigma = float(sde.alpha(jnp.asarray(t))), float(sde.sigma(jnp.asarray(t)))
    return alpha * mean, alpha**2 * variance + sigma**2


def relative_entropy(mean, variance, other_mean, other_variance):
    ratio = variance / other_variance
    return 0.5 * (ratio - 1 - np.log(ratio) + (mean - other_mean) ** 2 / other_variance)


def entropy(variance):
    return 0.5 * np.log(2 * np.pi * np.e * variance)


# ---- its mean ------------------------------------------------------------------------------------------


# H(p_eps) + KL(p_T || prior) at eps = 1e-3: our closed-form table, from scipy's integrals of the path's entropy.
EXACT_SCORE = [
    ("vp", 0.5, 0.25, 0.7259616399),
    ("subvp", 0.5, 0.25, 0.7257418015),
    ("ve", 0.5, 0.25, 0.7260447498),
    ("vp", 0.0, 1.0, 1.4189385332),
]


@pytest.mark.parametrize(("name", "mean", "variance", "expected"), EXACT_SCORE)
def test_the_exact_score_pays_for_the_prior_only(x64, name, mean, variance, expected):
    sde = SDES[name]()
    bound = exact_bound(
        gaussian(mean, variance, sde), sde, np.full(1, mean), np.sqrt(variance) * np.eye(1)
    )
    assert bound == pytest.approx(expected, abs=2e-10)


def test_a_process_of_the_users_own(x64):
    """Its times are found by bisection, and its prior is that of the base class."""
    bound = exact_bound(gaussian(0.5, 0.25, Own()), Own(), np.full(1, 0.5), 0.5 * np.eye(1))
    assert bound == pytest.approx(0.7259616399, abs=2e-10)


@pytest.mark.parametrize("sde", [VP(), VE()], ids=repr)
def test_correlated_data(x64, sde):
    """In two dimensions the entropy is a log-determinant, and the mismatch of the prior a trace."""
    mean, root = np.array([0.3, -0.2]), np.array([[0.6, 0.0], [0.5, 0.2]])
    model = GaussianScore.create(jnp.asarray(mean), jnp.asarray(root @ root.T), sde)
    bound = exact_bound(model, sde, mean, root, order=64)
    (_, alpha2, sigma2), (end_mean, end_alpha2, end_sigma2) = (
        (float(sde.alpha(t)) * mean, float(sde.alpha(t)) ** 2, float(sde.sigma(t)) ** 2)
        for t in (jnp.asarray(EPS), jnp.asarray(1.0))
    )
    law = scipy.stats.multivariate_normal(cov=alpha2 * root @ root.T + sigma2 * np.eye(2))
    end = (end_alpha2 * root @ root.T + end_sigma2 * np.eye(2)) / sde.prior_std**2
    kl = 0.5 * (
        np.trace(end) - 2 - np.linalg.slogdet(end)[1] + end_mean @ end_mean / sde.prior_std**2
    )
    assert bound == pytest.approx(law.entropy() + kl, abs=1e-8)


def test_it_bounds_the_sde_and_not_the_ode(x64):
    """A score 10 % too large: cross entropies of the data with the SDE's distribution, the bound and the ODE's distribution.

    The data are N(0, .25), so both distributions are centered; their variances follow from the affine SDE and ODE.
    """
    sde, variance = VP(), 0.25
    bound = exact_bound(
        Scaled(gaussian(0.0, variance, sde), 1.1), sde, np.zeros(1), np.sqrt(variance) * np.eye(1)
    )
    _, start = moments(sde, 0.0, variance, EPS)
    _, end = moments(sde, 0.0, variance, 1.0)
    fall = float(sde.alpha(jnp.asarray(1.0)) / sde.alpha(jnp.asarray(EPS)))
    of_sde = relative_entropy(0.0, start, 0.0, 0.2084021)
    of_ode = relative_entropy(0.0, start, 0.0, (start / end) ** 1.1 * fall**0.2)
    assert of_sde == pytest.approx(0.0088392, abs=1e-7)
    assert bound - entropy(start) == pytest.approx(0.0571791, abs=6e-8)
    assert of_ode == pytest.approx(0.4971689, abs=1e-7)


# ---- one estimate ----------------------------------------------------------------------------------------


def test_noise_that_the_score_resolves_is_taken_out(x64):
    """At the mean of data of variance RESOLVED, the control variate removes all dependence on the noise."""
    sde = VP()
    model = GaussianScore(jnp.full(3, 0.2), jnp.full(3, RESOLVED), jnp.eye(3), sde)
    z = np.random.default_rng(0).normal(size=(8, 3))
    x0, u = jnp.full((8, 3), 0.2), jnp.asarray([0.1] * 4 + [0.6] * 4)
    bounds = np.asarray(bound_sample(model, sde, x0, u, jnp.asarray(z), EPS))
    np.testing.assert_allclose(bounds[:4], bounds[0], rtol=1e-10)
    np.testing.assert_allclose(bounds[4:], bounds[4], rtol=1e-10)


@pytest.mark.parametrize("sde", [SubVP(), Own()], ids=["subvp", "own"])
def test_derivatives(x64, sde):
    """Derivatives of one estimate in x_0 and in the model's leaves, against finite differences."""
    rng = np.random.default_rng(1)
    x0, z, u = rng.normal(size=(3, 2)), rng.normal(size=(3, 2)), jnp.asarray([0.2, 0.5, 0.9])

    def bound(x0, mean):
        return bound_sample(GaussianScore(mean, jnp.ones(2), jnp.eye(2), sde), sde, x0, u, z, EPS)

    check_grads(bound, (jnp.asarray(x0), jnp.full(2, 0.1)), order=1, modes=["rev"])


# ---- error bars ------------------------------------------------------------------------------------------

REPETITIONS, DRAWS = 2000, 64


@pytest.fixture(scope="module")
def repeated():
    """The bound of one image of the standard mixture, 2000 times, and its exact value by quadrature."""
    with jax.enable_x64(True):
        sde = VP()
        model = ProductMixtureScore(
            jnp.array([0.3, 0.7]), jnp.array([-1.0, 0.6]), jnp.array([0.04, 0.09]), sde
        )
        image = jnp.array([-1.2, 0.1, 0.6, 0.9])
        x0 = jnp.broadcast_to(jnp.tile(image, 4), (REPETITIONS, 16))
        keys = jax.random.split(jax.random.key(0), REPETITIONS)
        bound = jax.jit(lambda *args: continuous_bound(model, sde, *args, EPS, DRAWS))(x0, keys)
        # Coordinates are independent, so each is integrated alone. The score is not linear: more nodes.
        z, u, weights = product(gaussian_nodes(1, 60), uniform_nodes(60))
        sample = jax.jit(lambda x0: bound_sample(model, sde, x0, u, z, EPS))
        exact = 4 * sum(weights @ np.asarray(sample(jnp.full((len(u), 1), x))) for x in image)
    return jax.tree.map(np.asarray, bound), exact


def test_estimates_have_no_bias(repeated):
    """False alarms: 1e-6."""
    bound, exact = repeated
    deviation = (bound.nats.mean() - exact) / (bound.nats.std(ddof=1) / np.sqrt(REPETITIONS))
    assert abs(deviation) < 4.9


def test_intervals_cover_as_often_as_they_say(repeated):
    """Nominally 95 %, here 92.9 % since a few strata hold most of the variance; the binomial SD is .6 %."""
    bound, exact = repeated
    covered = np.mean(np.abs(bound.nats - exact) < 1.96 * bound.standard_error)
    assert 0.91 < covered < 0.98


def test_squared_errors_have_no_bias(repeated):
    """Mean squared standard error against the variance; the SD of the ratio is about sqrt(2/2000) = 3.2 %; false alarms 1e-6."""
    bound, _ = repeated
    ratio = np.mean(bound.standard_error**2) / bound.nats.var(ddof=1)
    assert 0.84 < ratio < 1.17


def test_strata_and_resolved_noise_make_it_steady(repeated):
    """The standard error is 2.1 nats; without strata it would be 8.2, without the correction 4.2."""
    bound, _ = repeated
    assert bound.nats.std() < 2.5
    assert np.all(bound.nfe == DRAWS)


def test_an_image_has_its_own_noise_and_nfe_counts_calls():
    sde, calls = VP(), []

    def score(x, t):
        jax.debug.callback(lambda: calls.append(len(x)))
        return -x * (1 + jnp.sin(t))[:, None]

    x0 = jax.random.normal(jax.random.key(0), (4, 5))
    keys = jax.random.split(jax.random.key(1), 4)
    all_four = continuous_bound(score, sde, x0, keys, EPS, 6)
    jax.effects_barrier()
    assert calls == [4] * 6
    np.testing.assert_array_equal(all_four.nfe, 6)
    order = jnp.array([2, 0])
    two = continuous_bound(score, sde, x0[order], keys[order], EPS, 6)
    np.testing.assert_allclose(two.nats, all_four.nats[order], rtol=1e-6)
    np.testing.assert_allclose(two.standard_error, all_four.standard_error[order], rtol=1e-5)
    assert two.nats.dtype == jnp.float32


@pytest.mark.parametrize(
    "sde", [*(pytest.param(of, marks=pytest.mark.slow) for of in (VP(), SubVP())), VE()], ids=repr
)
def test_float32(sde):
    """Against float64 with the same numbers, in 768 dimensions; VE's state near the prior is of order 50."""
    rng = np.random.default_rng(0)
    x0, z = (rng.normal(size=(16, 768)).astype(np.float32) for _ in range(2))
    u = (np.arange(16, dtype=np.float32) + 0.5) / 16
    low = bound_sample(lambda x, t: -x, sde, jnp.asarray(0.5 * x0), u, z, 1e-5)
    assert low.dtype == jnp.float32
    with jax.enable_x64(True):
        wide = (jnp.asarray(a, jnp.float64) for a in (np.float32(0.5) * x0, u, z))
        high = bound_sample(lambda x, t: -x, sde, *wide, 1e-5)
    np.testing.assert_allclose(low, high, rtol=2e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"draws": 7}, "draws=7"),
        ({"draws": 0}, "draws=0"),
        ({"eps": 0.0}, "eps=0.0"),
        ({"eps": 1.0}, "eps=1.0"),
        ({"keys": jax.random.split(jax.random.key(0), 3)}, "keys of shape"),
    ],
    ids=lambda value: str(list(value)) if isinstance(value, dict) else "",
)
def test_impossible_requests_are_refused(wrong, message):
    given = {"keys": jax.random.split(jax.random.key(0), 2), "eps": EPS, "draws": 8, **wrong}
    with pytest.raises(ValueError, match=message):
        continuous_bound(lambda x, t: -x, VP(), jnp.zeros((2, 3)), **given)
