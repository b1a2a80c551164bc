"""EDM's sampler: its exact distribution with churn, known errors and order, and equivalences without churn."""

import dataclasses
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.samplers.edm import EDMSampler
from score_sde.samplers.grids import log_snr_grid, noise_power_grid
from score_sde.samplers.noise import IndexedNoise
from score_sde.sde_lib import SDE, VE, VP
from tests.fast_cases import fast_where
from tests.samplers.closed_forms import FAST_VP, QUICK_PROCESSES, closed_form
from tests.samplers.gaussian_law import MU, SIGMA, measured_law
from tests.samplers.mixture_flow import EPS, ends_of_the_flow, mixture


@dataclasses.dataclass(frozen=True)
class Plain(SDE):
    """sigma = t, which may be raised up to 120."""

    T = 120.0

    def alpha(self, t):
        return jnp.ones_like(t)

    def sigma(self, t):
        return t


def deviation_ratio(num_steps, variance, **settings):
    """Standard deviation of EDM's samples over the exact one: N - 1 steps from 80 to .002, and the one to 0.

    The exact one is that of the flow from N(0, 80^2), or of the data where there is churn.
    """
    sampler = EDMSampler(Plain(), **settings)
    grid = noise_power_grid(Plain(), 80.0, 0.002, num_steps - 1, 7.0)
    zero, data = np.zeros(1), np.full((1, 1), variance)
    slope = measured_law(sampler, grid, 1, np.ones(1), mu=zero, sigma=data)[0][0]
    churned = measured_law(sampler, grid, 1, zero, mu=zero, sigma=data)[1][0, 0]
    # The last step is the library's driver's. On Gaussian data it is a regression, and has its churn in the paper.
    gamma = min(settings.get("s_churn", 0.0) / num_steps, np.sqrt(2) - 1)
    raised = (0.002 * (1 + gamma)) ** 2
    last = 6400 * slope**2 + churned + raised - 0.002**2
    end = (variance / (variance + raised)) ** 2 * last
    exact = variance if "s_churn" in settings else variance * 6400 / (6400 + variance)
    return np.sqrt(end / exact)


KNOWN_RATIOS = [
    # N, variance, settings, ratio by another program
    (9, 0.25, {}, 1.278145),
    (18, 0.25, {}, 1.055270),
    (40, 0.25, {}, 1.009773),
    (80, 0.25, {}, 1.002310),
    (256, 0.25, {}, 1.000210),
    (18, 1.0, {}, 1.044810),
    (18, 0.04, {}, 1.073038),
    (18, 0.25, {"order": 1}, 0.846079),
    (18, 0.25, {"s_churn": 40.0}, 1.124447),
]


# The fewest steps, another variance, and each setting.
FAST = [0, 6, 7, 8]


@pytest.mark.parametrize(
    ("num_steps", "variance", "settings", "ratio"),
    fast_where(lambda *case: case in [KNOWN_RATIOS[k] for k in FAST], KNOWN_RATIOS),
    ids=str,
)
def test_known_errors(x64, num_steps, variance, settings, ratio):
    measured = deviation_ratio(num_steps, variance, **settings)
    assert measured == pytest.approx(
        ratio, abs=0.6e-6
    )  # half a unit of the last digit, and a little


def recursion(sampler, grid):
    """Mean and covariance of x, by y' = M y for y = x/alpha - mu in NumPy; the noise-to-signal ratio is the time."""
    d = len(MU)
    ends = [closed_form(sampler.sde, t) for t in grid]
    rhos = [end.sigma / end.alpha for end in ends]
    mean, covariance = -MU, (ends[0].prior_std / ends[0].alpha) ** 2 * np.eye(d)

    def slope(rho):
        return rho * np.linalg.inv(SIGMA + rho**2 * np.eye(d))

    for rho, then in zip(rhos[:-1], rhos[1:], strict=True):
        churned = sampler.s_min <= rho <= sampler.s_max
        gamma = min(sampler.s_churn / len(grid), np.sqrt(2) - 1) if churned else 0.0
        raised = min(rho * (1 + gamma), rhos[0])  # the grid begins at T
        covariance = covariance + sampler.s_noise**2 * (raised**2 - rho**2) * np.eye(d)
        step = then - raised
        euler = np.eye(d) + step * slope(raised)
        heun = np.eye(d) + 0.5 * step * (slope(raised) + slope(then) @ euler)
        move = {1: euler, 2: heun}[sampler.order]
        mean, covariance = move @ mean, move @ covariance @ move.T
    alpha = ends[-1].alpha
    return alpha * (MU + mean), alpha**2 * covariance


SETTINGS = [
    {"s_churn": 3.0, "s_min": 0.05, "s_max": 2.0, "s_noise": 1.1},
    {"s_churn": 40.0},
    {"s_churn": 2.0, "order": 1},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("sde", QUICK_PROCESSES, ids=repr)
def test_law_on_correlated_data(x64, sde, settings):
    sampler, grid = EDMSampler(sde, **settings), log_snr_grid(sde, sde.T, EPS, 12)
    mean, covariance = measured_law(sampler, grid, 1)
    expected_mean, expected = recursion(sampler, np.asarray(grid))
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(mean, expected_mean, rtol=0, atol=1e-9)


def sample(sde, x, grid, **settings):
    """Without churn no noise is asked for: there is none to ask."""
    sampler = EDMSampler(sde, **settings)
    return np.asarray(jax.jit(lambda x: sampler(mixture(sde), grid, None, x, x).x)(jnp.asarray(x)))


@pytest.mark.parametrize("sde", FAST_VP, ids=repr)
def test_order_without_churn(x64, sde):
    """Order 2, against the quantile map of a mixture."""
    x, exact = ends_of_the_flow(sde, 15)

    def error(num_steps):
        grid = log_snr_grid(sde, sde.T, EPS, num_steps)
        return np.sqrt(np.mean((sample(sde, x, grid) - exact) ** 2))

    coarse, fine = error(160), error(320)
    assert fine < 1e-3
    assert np.log2(coarse / fine) >= 1.85


@pytest.mark.parametrize("sde", FAST_VP, ids=repr)
def test_euler_is_ddim(x64, sde):
    """x_s = alpha_s x0_hat + sigma_s eps_hat (Song et al. 2021a, Eq. 12 with eta = 0), step by step."""
    grid, score = log_snr_grid(sde, sde.T, EPS, 6), mixture(sde)
    start = np.asarray(sde.prior_std) * np.linspace(-2, 2, 9)[:, None]
    x = start
    for t, s in zip(np.asarray(grid)[:-1], np.asarray(grid)[1:], strict=True):
        now, then = closed_form(sde, t), closed_form(sde, s)
        eps = -now.sigma * np.asarray(score(jnp.asarray(x), jnp.full(9, t)))
        x = then.alpha * (x - now.sigma * eps) / now.alpha + then.sigma * eps
    np.testing.assert_allclose(sample(sde, start, grid, order=1), x, rtol=1e-9)


@pytest.mark.parametrize(("order", "s_churn"), [(1, 0.0), (2, 0.0), (2, 5.0)])
def test_nfe_is_the_number_of_calls(order, s_churn):
    """N - 1 steps take 2N - 1 evaluations, including one for the last step."""
    calls, lock = [0], threading.Lock()

    def count(t):
        with lock:
            calls[0] += 1
        return np.asarray(t)

    def score(x, t):
        t = jax.pure_callback(count, jax.ShapeDtypeStruct(t.shape, t.dtype), t)
        return mixture(VP())(x, t)

    sampler = EDMSampler(VP(), s_churn, order=order)
    noise = IndexedNoise.for_images(jax.random.key(0), jnp.arange(3))
    grid = noise_power_grid(VP(), 1.0, EPS, 8, 7.0)
    samples = jax.jit(lambda noise: sampler(score, grid, noise, jnp.zeros((3, 2))))(noise)
    assert samples.nfe == calls[0] == order * 8
    if order == 2:
        assert samples.nfe + 1 == 2 * 9 - 1
    assert np.all(np.isfinite(samples.x))


def test_an_image_does_not_depend_on_its_batch():
    sampler, grid = EDMSampler(VE(), 10.0), noise_power_grid(VE(), 1.0, EPS, 6, 7.0)

    @jax.jit
    def draw(indices):
        noise = IndexedNoise.for_images(jax.random.key(0), indices)
        return sampler(mixture(VE()), grid, noise, jnp.zeros((len(indices), 4))).x

    one, other = draw(jnp.array([3, 8])), draw(jnp.array([8, 5]))
    np.testing.assert_allclose(one[1], other[0], rtol=1e-5)


def test_unusable_settings_are_refused():
    with pytest.raises(ValueError, match="s_churn=-1.0: expected a number >= 0"):
        EDMSampler(VP(), s_churn=-1.0)
    with pytest.raises(ValueError, match="s_min=2.0, s_max=1.0: expected 0 <= s_min <= s_max"):
        EDMSampler(VP(), s_min=2.0, s_max=1.0)
    with pytest.raises(ValueError, match="s_noise=0.0: expected a positive number"):
        EDMSampler(VP(), s_noise=0.0)
    with pytest.raises(ValueError, match="order=3: expected 1, Euler's method, or 2, Heun's"):
        EDMSampler(VP(), order=3)
