"""The ODE in variables other than t, with step sizes per image, from any start, and along its path."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from score_sde.generation.drivers import first_state
from score_sde.models.exact import GaussianScore
from score_sde.samplers.adaptive import AdaptiveSolver
from score_sde.samplers.fixed_steps import GridSolver
from score_sde.samplers.grids import log_snr_grid, uniform_grid
from score_sde.samplers.noise import IndexedNoise, RecordedNoise
from score_sde.samplers.ode import VARIABLES, ProbabilityFlow
from score_sde.sde_lib import SDE, VE, VP
from tests.fast_cases import fast_where, product_where
from tests.samplers.closed_forms import PROCESSES
from tests.samplers.mixture_flow import EPS, along, flow_error, mixture, quantile_map

# (solver, error after 40 steps on the uniform and on the log-SNR grid of VP), another program's
IN_RATIO = [("euler", 4.7e-2, 5.7e-2), ("heun", 3.5e-3, 3.9e-3)]


@pytest.mark.parametrize(("name", "uniform", "log_snr"), IN_RATIO)
def test_error_in_the_ratio_after_40_steps(x64, name, uniform, log_snr):
    """Euler's method in that variable is DDIM, and Heun's is EDM's solver."""
    flow = ProbabilityFlow(VP(), GridSolver(name), "ratio")
    assert flow_error(flow, uniform_grid(1.0, EPS, 40)) == pytest.approx(uniform, rel=0.05)
    assert flow_error(flow, log_snr_grid(VP(), 1.0, EPS, 40)) == pytest.approx(log_snr, rel=0.05)


ORDERS = {"euler": 1, "heun": 2, "bosh3": 3, "tsit5": 5}
# Each variable and process; euler and heun in the ratio are above, the steps along t in test_fixed_steps.py.
FAST = [(VP(), "log_ratio", "heun"), (VE(), "ratio", "bosh3")]


@pytest.mark.parametrize(
    ("sde", "variable", "name"),
    product_where(lambda *case: case in FAST, PROCESSES, ["ratio", "log_ratio"], ORDERS),
    ids=str,
)
def test_order(x64, sde, variable, name):
    """Euler's method in the logarithm needs far more steps to show its order if the noise spans three decades or more."""
    late = (variable, name) == ("log_ratio", "euler") and sde != VP()
    flow = ProbabilityFlow(sde, GridSolver(name), variable)
    steps = (2560, 5120) if late else (160, 320)
    coarse, fine = (flow_error(flow, log_snr_grid(sde, 1.0, EPS, n)) for n in steps)
    assert np.log2(coarse / fine) >= ORDERS[name] - 0.15


@pytest.mark.parametrize(
    ("sde", "variable"),
    product_where(lambda *case: case == (VE(), "ratio"), PROCESSES, VARIABLES),
    ids=str,
)
def test_adaptive_in_float32(sde, variable):
    """As in t: the global error is up to a hundred tolerances."""
    x_start = sde.prior_std * norm.ppf(np.linspace(0.02, 0.98, 24))
    flow = ProbabilityFlow(sde, AdaptiveSolver("tsit5", 1e-5, 1e-5), variable)
    grid = jnp.asarray([sde.T, EPS])
    start = jnp.asarray(x_start, jnp.float32)[:, None]
    samples = jax.jit(lambda x: flow(mixture(sde), grid, None, x, x))(start)
    assert samples.success
    exact = [quantile_map(sde, x, sde.T, EPS) for x in x_start]
    np.testing.assert_allclose(samples.x[:, 0], exact, atol=2e-3)


@dataclasses.dataclass(frozen=True)
class Cosine(SDE):
    """A process stated by alpha and sigma alone."""

    T = 0.99

    def alpha(self, t):
        return jnp.cos(jnp.pi / 2 * t)

    def sigma(self, t):
        return jnp.sin(jnp.pi / 2 * t)


def test_all_variables_give_the_same_flow_of_a_users_process(x64):
    ends = []
    for variable in VARIABLES:
        flow = ProbabilityFlow(Cosine(), AdaptiveSolver("dopri8", 1e-10, 1e-10), variable)
        start = jnp.linspace(-2.0, 2.0, 9)[:, None]
        ends.append(along(flow)(mixture(Cosine()), jnp.asarray([0.99, EPS]), start).x)
    np.testing.assert_allclose(ends[1:], [ends[0]] * 2, atol=1e-8)
    assert np.ptp(ends[0]) > 1


# The steps of each image are taken around the change of variables, whichever.
FAST_IN_T = fast_where(lambda variable: variable == "t", zip(VARIABLES))


@pytest.mark.parametrize("variable", FAST_IN_T)
def test_images_with_their_own_steps_do_not_depend_on_the_batch(variable):
    """Up to rounding, while shared steps would change the third digit; and with its own number of evaluations."""
    sde = VP()
    flow = ProbabilityFlow(sde, AdaptiveSolver("bosh3", 1e-4, 1e-4), variable, each_image=True)
    grid = jnp.asarray([1.0, EPS])

    @jax.jit
    def sample(indices):
        noise = IndexedNoise.for_images(jax.random.key(3), indices)
        return flow(mixture(sde), grid, noise, jnp.zeros((indices.size, 2, 2, 1)), keep_path=True)

    together, other = sample(jnp.arange(7)), sample(jnp.arange(4, 11))
    assert together.nfe.shape == (7,)
    assert len(set(together.nfe.tolist())) > 1
    np.testing.assert_array_equal(other.nfe[:3], together.nfe[4:])
    np.testing.assert_allclose(other.x[:3], together.x[4:], atol=3e-6)
    np.testing.assert_array_equal(together.path[-1], together.x)
    shared = dataclasses.replace(flow, each_image=False)
    noise = IndexedNoise.for_images(jax.random.key(3), jnp.arange(7))
    x = jax.jit(lambda: shared(mixture(sde), grid, noise, jnp.zeros((7, 2, 2, 1))).x)()
    assert 1e-5 < np.abs(x - together.x).max() < 0.1


SOLVERS = {"adaptive": AdaptiveSolver("dopri8", 1e-10, 1e-10), "grid": GridSolver("dopri8")}


@pytest.mark.parametrize(
    ("variable", "steps"),
    product_where(
        lambda *case: case in [("t", "adaptive"), ("ratio", "grid"), ("log_ratio", "adaptive")],
        VARIABLES,
        SOLVERS,
    ),
)
def test_the_path_follows_the_quantiles(x64, variable, steps):
    sde = VP()
    grid = log_snr_grid(sde, 1.0, EPS, 60)
    start = jnp.asarray([[-1.5], [0.3], [2.0]])
    path = ProbabilityFlow(sde, SOLVERS[steps], variable)(
        mixture(sde), grid, None, start, start, keep_path=True
    ).path
    assert path.shape == (61, 3, 1)
    for k in (0, 20, 45, 60):
        exact = [quantile_map(sde, float(x), 1.0, float(grid[k])) for x in start[:, 0]]
        # Between the steps of an adaptive solver diffrax interpolates, to fewer digits.
        np.testing.assert_allclose(path[k, :, 0], exact, atol=1e-4 if k else 1e-14)


@pytest.mark.parametrize(
    ("tolerance", "expected"),
    fast_where(
        lambda tolerance, _: tolerance == 1e-6, [(1e-5, 2.1e-5), (1e-6, 3.8e-6), (1e-7, 2.0e-7)]
    ),
)
def test_an_image_returns_from_its_latent(x64, tolerance, expected):
    """Encoding and decoding with an exact score: RMS 2.1e-5 at tolerance 1e-5 by another program's Tsit5."""
    sde = VP()
    x = jnp.asarray(norm.ppf(np.linspace(0.02, 0.98, 24)) * 0.6)[:, None]
    grid = jnp.asarray([1.0, EPS])
    flow = along(ProbabilityFlow(sde, AdaptiveSolver("tsit5", tolerance, tolerance)))
    latent = flow(mixture(sde), grid[::-1], x).x
    back = flow(mixture(sde), grid, latent).x
    rms = float(np.sqrt(np.mean((back - x) ** 2)))
    assert expected / 10 < rms < expected * 10


@pytest.mark.parametrize("variable", FAST_IN_T)
def test_law_of_a_start_from_an_image(x64, variable):
    """SDEdit from y = 1.5 at t = 0.4 on data N(0.5, 0.25): mean and variance at t -> 0, in closed form."""
    sde, eps = VP(), 1e-6
    score = GaussianScore(jnp.full(1, 0.5), jnp.full(1, 0.25), jnp.eye(1), sde)
    flow = ProbabilityFlow(sde, AdaptiveSolver("dopri8", 1e-10, 1e-10), variable)
    grid = jnp.asarray([0.4, eps])
    image = jnp.full((1, 1), 1.5)

    @jax.jit
    def sample(z):
        noise = RecordedNoise(z.reshape(1, 1), None)
        x = first_state(sde, grid[0], image, noise, image, are_states=False)
        return flow(score, grid, noise, image, x).x[0, 0]

    mean, one = sample(jnp.zeros(())), sample(jnp.ones(()))
    assert float(mean) == pytest.approx(0.7393443, abs=2e-6)
    assert float((one - mean) ** 2) == pytest.approx(0.2356786, abs=2e-6)


def test_states_are_taken_as_they_are():
    x = jnp.full((1, 1), 3.0)
    np.testing.assert_array_equal(
        first_state(VP(), jnp.asarray(0.5), x, None, x, are_states=True), x
    )


def test_unknown_variable_is_refused():
    with pytest.raises(
        ValueError, match="sampling.ode.variable='sigma' is unknown; choose one of t,"
    ):
        ProbabilityFlow(VP(), GridSolver("euler"), "sigma")
