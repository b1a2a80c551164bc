"""The straight path of flow matching from T = 1, where only noise is left: flow, likelihood and starts, in closed form."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.likelihood.log_density import log_density
from score_sde.likelihood.trace import ExactTrace
from score_sde.models.score import ScoreWrapper
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.samplers.configured import configure
from score_sde.samplers.fixed_steps import GridSolver
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.ode import ProbabilityFlow
from score_sde.sde_lib import Linear
from tests.fast_cases import fast_where
from tests.samplers.gaussian_law import MU, SIGMA, measured_law
from tests.samplers.mixture_flow import EPS, along, ends_of_the_flow, flow_error, mixture
from tests.samplers.test_every_combination import sampling

STRAIGHT = Linear()
ENDS = jnp.asarray([1.0, EPS])


@pytest.mark.parametrize("solver", [pytest.param("dopri5", marks=pytest.mark.slow), "tsit5"])
def test_quantiles_are_kept_from_the_noise_on(x64, solver):
    """Quantiles of N(0, 1) are mapped to those of the mixture: there is no mismatch of the prior."""
    flow = ProbabilityFlow(STRAIGHT, AdaptiveSolver(solver, 1e-8, 1e-8))
    start, exact = ends_of_the_flow(STRAIGHT)
    x = along(flow)(mixture(STRAIGHT), ENDS, jnp.asarray(start)).x
    assert np.abs(np.asarray(x) - exact).max() < 1e-6


@pytest.mark.slow
def test_quantiles_are_kept_in_float32():
    flow = ProbabilityFlow(STRAIGHT, AdaptiveSolver("dopri5", 1e-5, 1e-5))
    start, exact = ends_of_the_flow(STRAIGHT)
    x = along(flow)(mixture(STRAIGHT), ENDS, jnp.asarray(start, jnp.float32)).x
    assert np.abs(np.asarray(x) - exact).max() < 2e-3


@pytest.mark.parametrize(
    ("solver", "order"),
    fast_where(lambda solver, _: solver == "bosh3", [("euler", 1), ("heun", 2), ("bosh3", 3)]),
)
def test_orders_from_the_noise_on(x64, solver, order):
    flow = ProbabilityFlow(STRAIGHT, GridSolver(solver))
    errors = [flow_error(flow, log_snr_grid(STRAIGHT, 1.0, EPS, steps)) for steps in (160, 320)]
    assert np.log2(errors[0] / errors[1]) > order - 0.15


def test_the_law_of_correlated_data(x64):
    """Mean and covariance of the data at eps, exactly: sampling starts from p_T itself, not an approximation."""
    flow = ProbabilityFlow(STRAIGHT, AdaptiveSolver("dopri8", 1e-10, 1e-10))
    mean, covariance = measured_law(flow, ENDS, 1)
    np.testing.assert_allclose(mean, (1 - EPS) * MU, atol=1e-8)
    exact = (1 - EPS) ** 2 * SIGMA + EPS**2 * np.eye(3)
    np.testing.assert_allclose(covariance, exact, atol=1e-8)


def test_the_likelihood_is_that_of_the_data_at_eps(x64):
    """ln p_eps(x) itself: the correction for the prior of other processes is 0."""
    model, x = mixture(STRAIGHT), jnp.array([[-1.2, 0.1], [0.0, 0.5]])
    solver = AdaptiveSolver("dopri8", 1e-8, 1e-8)
    keys = jax.random.split(jax.random.key(0), 2)
    found = jax.jit(lambda x: log_density(model, STRAIGHT, x, ExactTrace(), keys, EPS, solver))(x)
    assert found.success.all()
    np.testing.assert_allclose(found.nats, model.log_density(x, jnp.full(2, EPS)), atol=1e-7)


@pytest.mark.slow
def test_likelihood_in_float32():
    model, x = mixture(STRAIGHT), jnp.array([[-1.2, 0.1], [0.0, 0.5]])
    keys = jax.random.split(jax.random.key(0), 2)
    found = log_density(model, STRAIGHT, x, ExactTrace(), keys, EPS, AdaptiveSolver())
    exact = model.log_density(x, jnp.full(2, EPS))
    assert np.abs((found.nats - exact) / (2 * np.log(2))).max() < 1e-4


@flax.struct.dataclass
class ScoreAlone(ScoreWrapper):
    """As a guided model is, of which only the score is known."""

    def __call__(self, x, t):
        return self.model(x, t)


def test_a_score_alone_takes_the_velocity_from_where_it_says_something(x64):
    """In the first 1/1024 of the time the velocity is constant, which changes the end by the square of that."""
    flow = ProbabilityFlow(STRAIGHT, AdaptiveSolver("dopri5", 1e-8, 1e-8))
    start, exact = ends_of_the_flow(STRAIGHT)
    x = along(flow)(ScoreAlone(mixture(STRAIGHT)), ENDS, jnp.asarray(start)).x
    assert 1e-9 < np.abs(np.asarray(x) - exact).max() < 1e-5


@pytest.mark.parametrize("grid", ["uniform", "quadratic", "log_snr", "rho"])
def test_where_samplers_begin(grid):
    """The flow in t starts at T; methods that divide by alpha or use the log-SNR start where some signal is left."""
    for way, start in (
        (sampling("ode", grid__name=grid), 1.0),
        (sampling("ode", grid__name=grid, ode__variable="ratio"), STRAIGHT.signal_end),
        (sampling("ddim", grid__name=grid), STRAIGHT.signal_end),
        (sampling("pc", grid__name=grid), STRAIGHT.signal_end),
    ):
        configured = configure(way, STRAIGHT)
        assert float(configured.grid[0]) == start == configured.settings["t_start"]
        assert np.all(np.diff(configured.grid) < 0)


def test_starts_after_the_signal_are_refused():
    configure(sampling("ode", t_start=0.9999), STRAIGHT)
    with pytest.raises(ValueError, match="expected a time between sampling.eps=0.001 and T=0.9990"):
        configure(sampling("ddim", t_start=0.9999), STRAIGHT)
