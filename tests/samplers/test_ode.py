"""The probability-flow ODE against closed-form maps, and its number of evaluations."""

import threading
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from score_sde.models.exact import GaussianScore
from score_sde.samplers.adaptive import SOLVERS, AdaptiveSolver
from score_sde.samplers.noise import RecordedNoise
from score_sde.samplers.ode import ProbabilityFlow, probability_flow
from score_sde.samplers.step_size import first_step
from score_sde.sde_lib import VE, VP, SubVP
from tests.fast_cases import fast_where, product_where
from tests.samplers.closed_forms import SLOW_SUBVP, closed_form
from tests.samplers.mixture_flow import along, mixture, quantile_map

EPS = {VP(): 1e-3, SubVP(): 1e-3, VE(): 1e-5}


@pytest.mark.parametrize(
    ("sde", "solver"),
    product_where(
        lambda *case: case in [(VP(), "bosh3"), (VE(), "dopri5"), (SubVP(), "tsit5")],
        EPS,
        ["bosh3", "dopri5", "tsit5", "dopri8"],
    ),
    ids=str,
)  # fmt: skip
def test_mixture_follows_its_quantiles(sde, solver):
    """float32 at tolerance 1e-5: the global error is up to a hundred tolerances, in units of the data."""
    x_start = sde.prior_std * norm.ppf(np.linspace(0.02, 0.98, 24))
    model = mixture(sde)
    flow = ProbabilityFlow(sde, AdaptiveSolver(solver, 1e-5, 1e-5))
    noise = RecordedNoise(jnp.asarray(x_start / sde.prior_std, jnp.float32)[:, None], jnp.zeros(()))
    grid = jnp.asarray([sde.T, EPS[sde]])
    samples = jax.jit(lambda: flow(model, grid, noise, jnp.zeros((24, 1))))()
    exact = [quantile_map(sde, x, sde.T, EPS[sde]) for x in x_start]
    assert samples.success
    np.testing.assert_allclose(samples.x[:, 0], exact, atol=2e-3)


@pytest.mark.parametrize("sde", fast_where(lambda sde: sde == VE(), zip(EPS)), ids=repr)
def test_mixture_to_float64_tolerance(x64, sde):
    x_start = sde.prior_std * norm.ppf(np.linspace(0.02, 0.98, 24))
    model = mixture(sde)
    flow = ProbabilityFlow(sde, AdaptiveSolver("tsit5", 1e-8, 1e-8))
    grid = jnp.asarray([sde.T, EPS[sde]])
    x = jnp.asarray(x_start)[:, None]
    samples = along(flow)(model, grid, x)
    exact = [quantile_map(sde, x, sde.T, EPS[sde]) for x in x_start]
    np.testing.assert_allclose(samples.x[:, 0], exact, atol=1e-6)


@pytest.mark.parametrize("sde", fast_where(lambda sde: sde == VP(), zip(EPS)), ids=repr)
def test_correlated_gaussian_moves_along_its_axes(x64, sde):
    """x(t) - alpha_t mu is stretched by sqrt(c_k(t) / c_k(s)) along eigenvector k, towards the data and back."""
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    eigenvalues, mu = np.array([0.05, 0.25, 1.0, 2.5]), np.array([0.5, -0.3, 0.0, 1.0])
    covariance = vectors @ np.diag(eigenvalues) @ vectors.T
    late, early = 0.9, 0.01
    model = GaussianScore.create(jnp.asarray(mu), jnp.asarray(covariance), sde)
    ends = [closed_form(sde, t) for t in (late, early)]
    c_late, c_early = (end.alpha**2 * eigenvalues + end.sigma**2 for end in ends)
    stretch = vectors @ np.diag(np.sqrt(c_early / c_late)) @ vectors.T
    at_late = ends[0].alpha * mu + np.sqrt(c_late.max()) * rng.normal(size=(3, 4))
    at_early = ends[1].alpha * mu + (at_late - ends[0].alpha * mu) @ stretch.T

    @jax.jit
    def solve(x, times):
        solver = AdaptiveSolver("dopri8", 1e-11, 1e-11)
        return solver.solve(partial(probability_flow, sde), x, times, model).y

    down = solve(jnp.asarray(at_late), jnp.asarray([late, early]))
    up = solve(jnp.asarray(at_early), jnp.asarray([early, late]))
    # A hundred tolerances, on the way up magnified by the stretch of up to 2,000.
    np.testing.assert_allclose(down, at_early, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(up, at_late, rtol=1e-8, atol=1e-8 * np.sqrt(c_late.max()))


@pytest.mark.parametrize("other", [SLOW_SUBVP, VE()], ids=repr)
def test_every_process_carries_a_state_to_the_same_end(x64, other):
    """From sigma/alpha = 20 to 0.05, x/alpha follows the same path under all of them, on any data."""
    start = np.linspace(-40.0, 40.0, 12)[:, None]
    ends = []
    for sde in (VP(), other):
        model = mixture(sde)
        times = sde.time_of_log_snr(-2 * jnp.log(jnp.array([20.0, 0.05])))
        alphas = np.asarray(sde.alpha(times))
        flow = ProbabilityFlow(sde, AdaptiveSolver("dopri8", 1e-10, 1e-10))
        x = along(flow)(model, times, jnp.asarray(alphas[0] * start)).x
        ends.append(np.asarray(x) / alphas[1])
    np.testing.assert_allclose(*ends, atol=1e-7)
    assert np.ptp(ends[0]) > 1  # the two ends of the states are told apart


# mean and variance of the ODE's own law, which keeps the prior's mismatch, for data N(0.5, 0.25)
OWN_LAW = {
    VP(): (0.4983293, 0.2500906),
    SubVP(): (0.4983296, 0.2499914),
    VE(): (0.4949992, 0.2500750),
}


@pytest.mark.parametrize("sde", fast_where(lambda sde: sde == VE(), zip(EPS)), ids=repr)
def test_gaussian_law_of_the_flow(x64, sde):
    """On Gaussian data the flow is affine: its value at 0 and its slope give the distribution without sampling."""
    model = GaussianScore(jnp.full(1, 0.5), jnp.full(1, 0.25), jnp.eye(1), sde)
    flow = ProbabilityFlow(sde, AdaptiveSolver("dopri8", 1e-10, 1e-10))

    @jax.jit
    def sample(z):
        noise = RecordedNoise(z.reshape(1, 1), None)
        return flow(model, jnp.asarray([sde.T, EPS[sde]]), noise, jnp.zeros((1, 1))).x[0, 0]

    mean, one = sample(jnp.zeros(())), sample(jnp.ones(()))
    expected_mean, expected_variance = OWN_LAW[sde]
    assert float(mean) == pytest.approx(expected_mean, abs=1e-7)
    assert float((one - mean) ** 2) == pytest.approx(expected_variance, abs=1e-7)


@pytest.mark.parametrize(
    ("solver", "towards_noise"),
    product_where(
        # As many evaluations as stages, with a first one beyond them and without, up and down.
        lambda *case: (
            case
            in [
                ("heun", False),
                ("bosh3", False),
                ("dopri5", False),
                ("dopri8", False),
                ("dopri5", True),
            ]
        ),
        SOLVERS,
        [False, True],
    ),
)
def test_nfe_is_the_number_of_calls(solver, towards_noise, monkeypatch):
    """Every evaluation of the vector field reports to the host; the record must have the same count.

    The first attempt spans half the interval, so it is rejected; the rule for the first step is evaluated nevertheless.
    """

    def half_of_all(*arguments):
        chosen, slope = first_step(*arguments)
        # The rule's own choice is not left out, or a compiler would leave out its evaluations too.
        return jnp.where(chosen == 0, jnp.nan, 0.5 * (times[1] - times[0])), slope

    monkeypatch.setattr("score_sde.samplers.adaptive.first_step", half_of_all)
    calls, lock = [0], threading.Lock()

    def count(t):
        with lock:
            calls[0] += 1
        return np.asarray(t)

    sde = VP()
    model = mixture(sde)

    def field(t, x, model):
        t = jax.pure_callback(count, jax.ShapeDtypeStruct((), t.dtype), t)
        times = jnp.full(x.shape[0], t)
        return sde.reverse_drift(x, times, model(x, times), h=0.0)

    x = jax.random.normal(jax.random.key(0), (5, 3))
    times = jnp.asarray((1e-5, 1.0) if towards_noise else (1.0, 1e-5))
    adaptive = AdaptiveSolver(solver, 1e-3, 1e-3)
    solution = jax.jit(lambda x: adaptive.solve(field, x, times, model))(x)
    assert solution.success
    assert int(solution.nfe) == calls[0]


def test_unfinished_solve_is_reported(monkeypatch):
    monkeypatch.setattr("score_sde.samplers.adaptive.MAX_STEPS", 3)
    solution = AdaptiveSolver().solve(
        lambda t, y, args: -100 * y, jnp.ones(2), jnp.asarray([0.0, 1.0]), None
    )
    assert not solution.success


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("euler", 1e-5, 1e-5), "choose one of heun"), (("tsit5", -1.0, 1e-5), "must be positive")],
)
def test_unusable_solvers_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        AdaptiveSolver(*arguments)
