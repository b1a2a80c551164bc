"""The bound of a chain against relative entropies of the joint Gaussian distributions that its steps define."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.likelihood.decoder import discretised
from score_sde.likelihood.discrete_bound import VARIANCES, discrete_bound, exact_part, level_sample
from score_sde.sde_lib import VE, VP, Chain
from tests.likelihood.quadrature import gaussian_nodes, product

MEAN, VARIANCE = 0.5, 0.25


@dataclasses.dataclass(frozen=True)
class LinearScore:
    """The score of N(MEAN, VARIANCE) data at a chain's levels, times a factor."""

    chain: Chain
    factor: float = 1.0

    def at_level(self, x, level):
        alpha, sigma = self.chain.alphas[level], self.chain.sigmas[level]
        variance = (alpha**2 * VARIANCE + sigma**2)[:, None]
        return -self.factor * (x - (alpha * MEAN)[:, None]) / variance


@dataclasses.dataclass(frozen=True)
class Kernel(Chain):
    """VP's own kernel at equal times from eps to 1."""

    eps: float

    @property
    def times(self):
        return jnp.linspace(self.eps, 1.0, self.num_scales)

    @property
    def alphas(self):
        return VP().alpha(self.times)

    @property
    def sigmas(self):
        return VP().sigma(self.times)

    @property
    def step_alphas(self):
        return self.alphas / jnp.append(1.0, self.alphas[:-1])

    @property
    def step_sigmas(self):
        before = jnp.append(0.0, self.sigmas[:-1])
        return jnp.sqrt(self.sigmas**2 - self.step_alphas**2 * before**2)


def exact_bound(score, chain, variances, prior_std):
    """The mean of the bound over N(MEAN, VARIANCE) data: all levels, and rules that are exact for a linear score."""
    normal, z, level, weights = product(
        gaussian_nodes(1),
        gaussian_nodes(1),
        (np.arange(chain.num_scales), np.ones(chain.num_scales)),
    )
    x0 = jnp.asarray(MEAN + np.sqrt(VARIANCE) * normal)

    @jax.jit
    def both(x0, level, z):
        of_levels = level_sample(score, chain, x0, level, z, variances)
        return of_levels, exact_part(chain, x0, variances, prior_std)

    of_levels, of_data = both(x0, level, z)
    return weights @ np.asarray(of_levels) + weights @ np.asarray(of_data) / chain.num_scales


def joint_relative_entropy(score, chain, variances, prior_std):
    """KL of the joint law of (x_0, levels 0 ... N-1), forwards from the data against backwards from the prior.

    Both are Gaussian. Each is written as x = b + L noise, built up a step at a time.
    """
    n, tables = chain.num_scales, (chain.step_alphas, chain.step_sigmas)
    a, g = (np.asarray(table) for table in tables)
    forward, forward_mean = np.zeros((n + 1, n + 1)), np.zeros(n + 1)
    forward[0, 0], forward_mean[0] = np.sqrt(VARIANCE), MEAN
    for i in range(n):
        forward[i + 1] = a[i] * forward[i]
        forward[i + 1, i + 1] += g[i]
        forward_mean[i + 1] = a[i] * forward_mean[i]
    backward, backward_mean = np.zeros((n + 1, n + 1)), np.zeros(n + 1)
    backward[n, n] = prior_std
    points = jnp.asarray([[0.0], [1.0]])
    for i in reversed(range(n)):
        # The score is linear in x: its value at 0 and its slope.
        at = np.asarray(score.at_level(points, jnp.full(2, i)))[:, 0]
        offset, slope = g[i] ** 2 * at[0] / a[i], (1 + g[i] ** 2 * (at[1] - at[0])) / a[i]
        backward[i] = slope * backward[i + 1]
        backward[i, i] += np.sqrt(variances[i])
        backward_mean[i] = slope * backward_mean[i + 1] + offset
    root = np.linalg.solve(backward, forward)
    shift = np.linalg.solve(backward, forward_mean - backward_mean)
    log_determinant = np.linalg.slogdet(root)[1]
    return 0.5 * (np.sum(root**2) + shift @ shift - (n + 1)) - log_determinant


ENTROPY = 0.5 * np.log(2 * np.pi * np.e * VARIANCE)


@pytest.mark.parametrize("name", list(VARIANCES))
@pytest.mark.parametrize("factor", [pytest.param(1.0, marks=pytest.mark.slow), 1.1])
@pytest.mark.parametrize(("sde", "num_scales"), [(VP(), 25), (VE(), 12)], ids=["ddpm", "smld"])
def test_it_is_the_relative_entropy_of_the_joint_laws(x64, sde, num_scales, factor, name):
    """For every choice of variances, with an exact and a wrong score."""
    chain = sde.chain(num_scales)
    score, variances = LinearScore(chain, factor), VARIANCES[name](chain)
    expected = ENTROPY + joint_relative_entropy(score, chain, variances, sde.prior_std)
    assert exact_bound(score, chain, variances, sde.prior_std) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("num_scales", [3, 40])
def test_with_the_best_variances_the_number_of_steps_does_not_matter(x64, num_scales):
    """The joint distribution is then exact up to the prior: H(p_0) + KL(p_T || prior), from our closed-form table.

    The best variances are those of x_{i-1} given x_i for Gaussian data, G_i^2 c_{i-1} / c_i.
    """
    chain = Kernel(num_scales, 1e-3)
    marginals = np.append(VARIANCE, chain.alphas**2 * VARIANCE + chain.sigmas**2)
    variances = jnp.asarray(chain.step_sigmas**2 * marginals[:-1] / marginals[1:])
    bound = exact_bound(LinearScore(chain), chain, variances, 1.0)
    assert bound == pytest.approx(0.7257967511, abs=2e-10)


@pytest.mark.parametrize(
    "sde", [VP(), pytest.param(VE(), marks=pytest.mark.slow)], ids=["ddpm", "smld"]
)
def test_many_levels_tend_to_the_continuous_bound(x64, sde):
    """With the exact score the continuous bound is H(p_0) + KL(p_T || prior), and the excess falls as 1/N."""
    limit = {VP(): 0.7257913526 + 5.3985e-6, VE(): 0.7257913526 + 5.00025e-5}[sde]
    excess = []
    for n in (500, 1000, 2000):
        chain = sde.chain(n)
        variances = VARIANCES["ancestral"](chain)
        excess.append(exact_bound(LinearScore(chain), chain, variances, sde.prior_std) - limit)
    ratios = np.divide(excess[:-1], excess[1:])
    assert np.all((ratios > 1.95) & (ratios < 2.05)), excess
    assert 0 < excess[-1] < 0.02


# ---- estimates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draws", [12, pytest.param(64, marks=pytest.mark.slow)], ids=["drawn", "every"]
)
def test_estimates_and_error_bars(x64, draws):
    """Mean within 4.9 SD, and mean squared standard error within 17 % of the variance: false alarms 1e-6 each."""
    chain, repetitions = VP().chain(25), 2000
    variances, score = VARIANCES["ancestral"](chain), LinearScore(chain, 1.2)
    x0 = jnp.broadcast_to(jnp.asarray([0.1, 0.9, -0.4]), (repetitions, 3))
    keys = jax.random.split(jax.random.key(0), repetitions)

    def estimate(x0, keys):
        return discrete_bound(score, chain, x0, keys, draws, variances, 1.0)

    bound = jax.tree.map(np.asarray, jax.jit(estimate)(x0, keys))
    z, level, weights = product(gaussian_nodes(1), (np.arange(25), np.ones(25)))
    of_levels = jax.jit(lambda x0: level_sample(score, chain, x0, level, z, variances))
    exact = sum(weights @ np.asarray(of_levels(jnp.full((len(level), 1), x))) for x in x0[0])
    exact += float(exact_part(chain, x0[:1], variances, 1.0)[0])
    assert np.all(bound.nfe == min(draws, 50))
    spread = bound.nats.std(ddof=1)
    assert abs(bound.nats.mean() - exact) < 4.9 * spread / np.sqrt(repetitions)
    assert 0.83 < np.mean(bound.standard_error**2) / spread**2 < 1.17


def test_images_have_their_own_noise():
    chain = VP().chain(25)
    variances, score = VARIANCES["ancestral"](chain), LinearScore(chain)
    x0 = jax.random.normal(jax.random.key(0), (3, 2))
    keys = jax.random.split(jax.random.key(1), 3)

    @jax.jit
    def estimate(x0, keys):
        return discrete_bound(score, chain, x0, keys, 8, variances, 1.0)

    others = jnp.zeros_like(x0).at[0].set(x0[2])
    together, first = estimate(x0, keys), estimate(others, keys[::-1])
    np.testing.assert_allclose(first.nats[0], together.nats[2], rtol=1e-6)
    np.testing.assert_allclose(first.standard_error[0], together.standard_error[2], rtol=1e-5)


@pytest.mark.slow
def test_integers_cost_what_their_density_does_where_levels_are_fine(x64):
    """-ln P(v) -> -ln p(x_0) - D ln(width of a level) for a decoder much wider than a level; one estimate each."""
    chain, num_levels = VP().chain(25), 4001
    variances, score = VARIANCES["ancestral"](chain), LinearScore(chain)
    x0 = 2 * jnp.asarray([[3000.0, 2000.0]]) / (num_levels - 1) - 1
    keys = jax.random.split(jax.random.key(0), 1)

    def nats(**options):
        def estimate(x0, keys):
            return discrete_bound(score, chain, x0, keys, 6, variances, 1.0, **options)

        return jax.jit(estimate)(x0, keys).nats

    width = np.log(2 / (num_levels - 1))
    integers = nats(decoder=discretised(num_levels, centered=True))
    # sigma_0 = .06 is 120 levels, and the next order is 1/24 of the square of its inverse.
    np.testing.assert_allclose(integers, nats() - 2 * width, rtol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"draws": 2}, "draws=2"),
        ({"draws": 9}, "draws=9"),
        ({"variances": jnp.ones(24)}, "variances of shape"),
        ({"keys": jax.random.split(jax.random.key(0), 3)}, "keys of shape"),
    ],
    ids=["few", "odd", "variances", "keys"],
)
def test_impossible_requests_are_refused(wrong, message):
    given = {
        "keys": jax.random.split(jax.random.key(0), 2), "draws": 8, "variances": jnp.ones(25), **wrong,
    }  # fmt: skip
    chain = VP().chain(25)
    with pytest.raises(ValueError, match=message):
        discrete_bound(LinearScore(chain), chain, jnp.zeros((2, 3)), prior_std=1.0, **given)
