"""The optimal few times: costs against Monte Carlo and tabulated values, the optimal path against all paths.

The tabulated values: VP, data N(0, 0.25), eleven equally spaced times from 1e-3 to 1, in 40-digit decimal arithmetic.
"""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from score_sde.models.exact import ProductMixtureScore
from score_sde.samplers.optimal_variance import OptimalVariance, posterior_variance
from score_sde.samplers.schedules import best_times, forward_variance, shortest_path, step_costs
from score_sde.sde_lib import VP, SubVP
from tests.samplers.closed_forms import FAST_VP, PROCESSES, closed_form

TIMES = np.linspace(1e-3, 1.0, 11)


def gaussian_errors(sde, variance=0.25):
    """m = alpha^2 l / c."""
    alpha, sigma = np.array([closed_form(sde, t)[:2] for t in TIMES]).T
    return alpha**2 * variance / (alpha**2 * variance + sigma**2)


def optimal(errors):
    return OptimalVariance(tuple(TIMES.tolist()), tuple(np.asarray(errors).tolist())).variance


def length(costs, path):
    """Of a path of indices, from either end."""
    path = sorted(path)
    return sum(costs[late, early] for early, late in itertools.pairwise(path))


def all_paths(n, num_steps):
    return [(0, *inner, n - 1) for inner in itertools.combinations(range(1, n - 1), num_steps - 1)]


def test_tabulated_values(x64):
    costs = step_costs(VP(), TIMES, gaussian_errors(VP()), forward_variance)
    path, value = shortest_path(costs, 4)
    assert path.tolist() == [10, 3, 2, 1, 0]
    assert value == pytest.approx(3.974417150149, abs=1e-12)
    assert length(costs, (0, 3, 5, 8, 10)) == pytest.approx(4.079919007840, abs=1e-12)
    assert shortest_path(costs, 10)[1] == pytest.approx(3.958442197743, abs=1e-12)
    grid = best_times(VP(), TIMES, gaussian_errors(VP()), forward_variance, 4)
    np.testing.assert_array_equal(grid, TIMES[[10, 3, 2, 1, 0]])


def test_with_optimal_variances_all_paths_of_gaussian_data_cost_the_same(x64):
    costs = step_costs(VP(), TIMES, gaussian_errors(VP()), optimal(gaussian_errors(VP())))
    values = [length(costs, path) for n in range(1, 11) for path in all_paths(11, n)]
    np.testing.assert_allclose(values, 3.8647822, rtol=0, atol=0.51e-7)
    assert np.ptp(values) < 1e-12


@pytest.mark.parametrize("variance", [forward_variance, posterior_variance])
@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_no_path_is_cheaper(x64, sde, variance):
    costs = step_costs(sde, TIMES, gaussian_errors(sde), variance)
    values = []
    for num_steps in range(1, 11):
        path, value = shortest_path(costs, num_steps)
        assert len(path) == num_steps + 1
        assert np.all(np.diff(path) < 0)
        assert value == pytest.approx(length(costs, path), rel=1e-13)
        cheapest = min(length(costs, other) for other in all_paths(11, num_steps))
        assert value == pytest.approx(cheapest, rel=1e-13)
        values.append(value)
    # tau^2 is so wrong for the last step of sub-VP, whose sigma falls to 1e-4, that one step less is better there.
    usable = 9 if (sde, variance) == (SubVP(), forward_variance) else 10
    assert np.all(np.diff(values[:usable]) <= 0)
    # and no variance costs less than the optimal one
    best = step_costs(sde, TIMES, gaussian_errors(sde), optimal(gaussian_errors(sde)))
    steps = np.tril_indices(11, -1)
    assert np.all(best[steps] <= costs[steps] + 1e-13)
    assert np.all(np.isinf(best[np.triu_indices(11)]))


def test_paths_of_arbitrary_costs():
    rng = np.random.default_rng(0)
    costs = np.where(np.tri(8, k=-1), rng.random((8, 8)), np.inf)
    for num_steps in range(1, 8):
        path, value = shortest_path(costs, num_steps)
        cheapest = min(all_paths(8, num_steps), key=lambda other: length(costs, other))
        assert path.tolist() == list(cheapest[::-1])
        assert value == pytest.approx(length(costs, cheapest), rel=1e-13)


WEIGHTS, MEANS, VARIANCES = np.array([0.3, 0.7]), np.array([-1.0, 0.6]), np.array([0.04, 0.09])


def mixture_error(sde, score, t):
    """m = 1 - sigma^2 E score^2, by quadrature over the marginal's density."""
    alpha, sigma = closed_form(sde, t)[:2]
    std = np.sqrt(alpha**2 * VARIANCES + sigma**2)
    x = np.linspace(-9, 9, 40_001) * std.max() + alpha * MEANS.mean()
    density = (WEIGHTS * norm.pdf(x[:, None], alpha * MEANS, std)).sum(1)
    scores = np.asarray(score(jnp.asarray(x)[:, None], jnp.full(len(x), t)))[:, 0]
    return 1 - sigma**2 * np.trapezoid(density * scores**2, x)


@pytest.mark.parametrize("name", ["forward", "posterior", "optimal"])
@pytest.mark.parametrize("sde", FAST_VP, ids=repr)
def test_costs_are_mean_divergences(x64, sde, name):
    """Against the divergence of the two Gaussians, averaged over 40,000 draws of (x_0, x_t).

    Within 5 standard errors; one of these 27 comparisons fails by chance once in 60,000 random streams.
    """
    score = ProductMixtureScore(*map(jnp.asarray, (WEIGHTS, MEANS, VARIANCES)), sde)
    errors = np.array([mixture_error(sde, score, t) for t in TIMES])
    variance = {
        "forward": forward_variance,
        "posterior": posterior_variance,
        "optimal": optimal(errors),
    }[name]
    costs = step_costs(sde, TIMES, errors, variance)
    rng, n = np.random.default_rng(1), 40_000
    for late, early in ((10, 3), (5, 4), (3, 0)):
        now, then = closed_form(sde, TIMES[late]), closed_form(sde, TIMES[early])
        k = (rng.random(n) < WEIGHTS[1]).astype(int)
        x0 = MEANS[k] + np.sqrt(VARIANCES[k]) * rng.standard_normal(n)
        x = now.alpha * x0 + now.sigma * rng.standard_normal(n)
        a = now.alpha / then.alpha
        tau2 = now.sigma**2 - a**2 * then.sigma**2
        # Bayes' rule for x_s: precisions add, of alpha_s x_0 and of x / a
        true_variance = 1 / (1 / then.sigma**2 + a**2 / tau2)
        true_mean = true_variance * (then.alpha * x0 / then.sigma**2 + a * x / tau2)
        scores = np.asarray(score(jnp.asarray(x)[:, None], jnp.full(n, TIMES[late])))[:, 0]
        mean = (x + tau2 * scores) / a
        v = float(variance(sde, jnp.asarray(TIMES[late]), jnp.asarray(TIMES[early])))
        divergence = 0.5 * ((true_variance + (mean - true_mean) ** 2) / v - 1)
        divergence += 0.5 * np.log(v / true_variance)
        error = divergence.std() / np.sqrt(n)
        assert abs(costs[late, early] - divergence.mean()) < 5 * error


@pytest.mark.parametrize("num_steps", [0, 11])
def test_more_steps_than_times_are_refused(num_steps):
    with pytest.raises(ValueError, match=f"{num_steps} steps along 11 times: expected 1 to 10"):
        shortest_path(np.ones((11, 11)), num_steps)
