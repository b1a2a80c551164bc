"""Stochastic exponential integrators: distributions on Gaussian data up to rounding, identities, and the order of their variance."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.models.exact import GaussianScore
from score_sde.samplers.exponential import stochastic
from score_sde.samplers.exponential.methods import EXPONENTIAL
from score_sde.samplers.exponential.sampler import ExponentialSampler
from score_sde.samplers.grids import log_snr_grid, uniform_grid
from score_sde.samplers.noise import IndexedNoise, RecordedNoise
from score_sde.samplers.predictor_corrector import PredictorCorrector
from score_sde.samplers.predictors import PREDICTORS
from score_sde.sde_lib import VE, VP, SubVP
from tests.fast_cases import fast_where
from tests.samplers.closed_forms import FAST_VP, closed_form
from tests.samplers.mixture_flow import EPS, mixture
from tests.samplers.test_vector_laws import IDENTITY, MU, SIGMA, score_terms

D = 3
MULTISTEP = "dpm_solver_pp_2m"


def law(sampler, mean, covariance, grid, start=None):
    """Mean and covariance of the result, which is affine in the noise: a batch of all unit vectors, and 0, says all.

    `start` turns the first noise into the first state; otherwise that is a draw of the prior.
    """
    model = GaussianScore.create(jnp.asarray(mean), jnp.asarray(covariance), sampler.sde)
    num_draws, dimension = len(grid), len(mean)
    count = num_draws * dimension
    noise = np.eye(count + 1, count, -1).reshape(count + 1, num_draws, dimension)
    noise = jnp.asarray(noise.swapaxes(0, 1))
    recorded = RecordedNoise(noise[0], noise[1:, None])
    x_start = None if start is None else start(noise[0])
    x = np.asarray(jax.jit(sampler)(model, grid, recorded, noise[0], x_start).x)
    jacobian = (x[1:] - x[0]).T
    return x[0], jacobian @ jacobian.T


def ddim(eta, now, then, h, h_before):
    """Factors of x, of the predicted data, of those before, and of z (Song et al. 2021a, Eq. 12 and 16)."""
    a = now.alpha / then.alpha
    posterior = (now.sigma**2 - a**2 * then.sigma**2) * then.sigma**2 / now.sigma**2
    of_noise = np.sqrt(then.sigma**2 - eta**2 * posterior)
    of_x = of_noise / now.sigma
    return of_x, then.alpha - of_x * now.alpha, 0.0, eta * np.sqrt(posterior)


def sde_dpm_solver_pp_2m(eta, now, then, h, h_before):
    """As Lu et al. 2022b write it, in x and h; the first step is of first order."""
    del eta
    of_data = then.alpha * -np.expm1(-2 * h)
    of_slope = 0.0 if h_before is None else of_data / (2 * h_before / h)
    of_x = then.sigma / now.sigma * np.exp(-h)
    return of_x, of_data + of_slope, -of_slope, then.sigma * np.sqrt(-np.expm1(-2 * h))


def expected_law(sde, step, eta, grid):
    """Recursion of the pair (x, data predicted before), mean (2d,) and covariance (2d, 2d)."""
    mean, covariance = np.zeros(2 * D), np.zeros((2 * D, 2 * D))
    covariance[:D, :D] = closed_form(sde, sde.T).prior_std ** 2 * IDENTITY
    h_before = None
    for t, s in zip(grid[:-1], grid[1:], strict=True):
        now, then = closed_form(sde, t), closed_form(sde, s)
        h = np.log(then.alpha * now.sigma / (then.sigma * now.alpha))
        of_x, of_data, of_before, of_z = step(eta, now, then, h, h_before)
        precision, q = score_terms(sde, t)
        # the data predicted are gain x + shift (Tweedie)
        gain = (IDENTITY - now.sigma**2 * precision) / now.alpha
        shift = now.sigma**2 * q / now.alpha
        matrix = np.block(
            [[of_x * IDENTITY + of_data * gain, of_before * IDENTITY], [gain, 0 * IDENTITY]]
        )
        mean = matrix @ mean + np.concatenate([of_data * shift, shift])
        covariance = matrix @ covariance @ matrix.T
        covariance[:D, :D] += of_z**2 * IDENTITY
        h_before = h
    return mean[:D], covariance[:D, :D]


LAWS = [("ddim", 0.3, ddim), ("ddim", 1.0, ddim), (MULTISTEP, 1.0, sde_dpm_solver_pp_2m)]


@pytest.mark.parametrize(("name", "eta", "step"), LAWS)
@pytest.mark.parametrize("sde", FAST_VP, ids=repr)
def test_law_on_correlated_data(x64, sde, name, eta, step):
    """Steps of unequal h: equal in time."""
    grid = uniform_grid(sde.T, EPS, 10)
    mean, covariance = law(ExponentialSampler(sde, name, eta), MU, SIGMA, grid)
    expected_mean, expected = expected_law(sde, step, eta, np.asarray(grid))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(mean, expected_mean, rtol=0, atol=1e-10 * np.sqrt(scale))


# process, last time, eta, and mean and variance after 100 uniform steps on data N(0.5, 0.25), by another program
KNOWN = [
    (VP(), 1e-3, 0.0, 0.49838, 0.236356),
    (VP(), 1e-3, 1.0, 0.49997, 0.219446),
    (SubVP(), 1e-3, 0.0, 0.49837, 0.237386),
    (VE(), 1e-5, 1.0, 0.49995, 0.229966),
]


@pytest.mark.parametrize(
    ("sde", "eps", "eta", "mean", "variance"),
    fast_where(lambda sde, eps, eta, *law: eta == 1.0, KNOWN),
)
def test_known_laws(x64, sde, eps, eta, mean, variance):
    sampler = ExponentialSampler(sde, "ddim", eta)
    got = law(sampler, np.array([0.5]), np.array([[0.25]]), uniform_grid(1.0, eps, 100))
    assert float(got[0][0]) == pytest.approx(mean, abs=6e-6)
    assert float(got[1][0, 0]) == pytest.approx(variance, abs=6e-7)


@pytest.mark.parametrize("sde", FAST_VP, ids=repr)
def test_ddim_of_eta_1_is_ancestral_sampling(x64, sde):
    """It equals that with the posterior variance, on any data and from the same noise."""
    rng, grid = np.random.default_rng(0), uniform_grid(sde.T, EPS, 8)
    noise = RecordedNoise(*(jnp.asarray(rng.normal(size=n)) for n in [(4, 2), (8, 1, 4, 2)]))
    ancestral = PredictorCorrector(sde, PREDICTORS["ancestral_sampling_posterior"], None)
    ddim = ExponentialSampler(sde, "ddim", 1.0)
    one, other = (
        jax.jit(functools.partial(sampler, keep_path=True))(
            mixture(sde), grid, noise, jnp.zeros((4, 2))
        ).path
        for sampler in (ddim, ancestral)
    )
    np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["ddim", MULTISTEP])
@pytest.mark.parametrize("eta", [0.4, pytest.param(1.0, marks=pytest.mark.slow)])
def test_exact_on_a_point_mass(x64, name, eta):
    """In any number of steps, started from x_T: mean alpha point and variance sigma^2, for every eta."""
    sde, point = SubVP(), np.array([0.5, -1.0])
    late, early = closed_form(sde, 1.0), closed_form(sde, EPS)

    def start(z):
        return late.alpha * point[None] + late.sigma * z

    sampler, grid = ExponentialSampler(sde, name, eta), uniform_grid(1.0, EPS, 3)
    mean, covariance = law(sampler, point, np.zeros((2, 2)), grid, start)
    np.testing.assert_allclose(mean, early.alpha * point, rtol=0, atol=1e-12)
    # sigma is 1e-4: differences of round-off 1e-16 are 1e-12 of it
    expected = early.sigma**2 * np.eye(2)
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-9 * early.sigma**2)


@pytest.mark.slow  # The laws themselves are above.
@pytest.mark.parametrize(("name", "eta"), [("ddim", 1.0), (MULTISTEP, 1.0), (MULTISTEP, 0.5)])
def test_order_of_the_law(x64, name, eta):
    """Differences between 80, 160 and 320 steps of equal log-SNR on data N(0.5, 0.25) fall by 2^order.

    From N(1, 1/4), which is not the process's start: the mean shows how fast the start is forgotten, unless eta is 1.
    """
    sde, moments = VP(), []
    for n in (80, 160, 320):
        sampler, grid = ExponentialSampler(sde, name, eta), log_snr_grid(sde, 1.0, EPS, n)
        mean, covariance = law(
            sampler, np.array([0.5]), np.array([[0.25]]), grid, start=lambda z: 1 + z / 2
        )
        moments.append([covariance[0, 0], mean[0]])
    coarse, fine = np.abs(np.diff(moments, axis=0))
    order = EXPONENTIAL[name].order
    assert np.log2(coarse[0] / fine[0]) == pytest.approx(order, abs=0.15)
    if eta < 1:
        assert np.log2(coarse[1] / fine[1]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("name", ["ddim", pytest.param(MULTISTEP, marks=pytest.mark.slow)])
def test_without_noise_it_is_the_deterministic_method(x64, name):
    """In the limit of eta to 0, on any data."""
    grid, x = uniform_grid(1.0, EPS, 8), jnp.linspace(-2.0, 2.0, 5)[:, None]
    noise = RecordedNoise(x, jnp.ones((8, 1, 5, 1)))
    almost, without = (
        jax.jit(ExponentialSampler(VP(), name, eta))(mixture(VP()), grid, noise, x).x
        for eta in (1e-9, 0.0)
    )
    np.testing.assert_allclose(almost, without, rtol=0, atol=1e-7)


def test_an_image_is_the_same_in_every_batch():
    sampler, grid = ExponentialSampler(VP(), "ddim", 1.0), uniform_grid(1.0, EPS, 5)

    @jax.jit
    def sample(indices):
        noise = IndexedNoise.for_images(jax.random.key(1), indices)
        return sampler(mixture(VP()), grid, noise, jnp.zeros((*indices.shape, 2, 2, 3))).x

    together, other = sample(jnp.arange(4)), sample(jnp.array([2, 11, 7, 9]))
    np.testing.assert_allclose(together[2], other[0], rtol=0, atol=1e-6)
    assert np.ptp(together, axis=0).min() > 1e-3  # no two share their noise


@pytest.mark.parametrize("eta", [0.0, 1.5, float("nan")])
def test_a_solver_without_its_noise_is_refused(eta):
    with pytest.raises(ValueError, match="expected 0 < eta <= 1"):
        stochastic.NoisyDDIM(eta)
