"""DDIM and DPM-Solver: measured orders and errors, published formulas, exact cases, adaptive steps, inversion."""

import functools
import threading

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.models.exact import GaussianScore
from score_sde.samplers.exponential.methods import EXPONENTIAL
from score_sde.samplers.exponential.sampler import Adaptive, ExponentialSampler
from score_sde.samplers.exponential.single_step import DDIM, DPMSolver3
from score_sde.samplers.fixed_steps import GridSolver
from score_sde.samplers.grids import log_snr_grid, uniform_grid
from score_sde.samplers.noise import RecordedNoise
from score_sde.samplers.ode import ProbabilityFlow
from score_sde.sde_lib import SDE, VE, VP
from tests.fast_cases import fast_where, product_where
from tests.samplers.closed_forms import PROCESSES, SLOW_SUBVP, closed_form
from tests.samplers.mixture_flow import EPS, along, ends_of_the_flow, flow_error, mixture

ORDERS = {"ddim": 1, "dpm_solver_2": 2, "dpm_solver_3": 3, "dpm_solver_pp_2s": 2}


class Cosine(SDE):
    """A process that states nothing but alpha and sigma."""

    T = 0.99

    def alpha(self, t):
        return jnp.cos(0.5 * jnp.pi * t)

    def sigma(self, t):
        return jnp.sin(0.5 * jnp.pi * t)


@pytest.mark.parametrize(
    ("sde", "name"),
    product_where(
        # Under VP the errors themselves are known: MEASURED.
        lambda *case: case == (VE(), "dpm_solver_3"),
        PROCESSES,
        ORDERS,
    ),
    ids=str,
)
def test_order(x64, sde, name):
    """The slope of the error between 160 and 640 steps of equal log-SNR."""
    order = ORDERS[name]
    assert EXPONENTIAL[name].order == order
    sampler = ExponentialSampler(sde, name)
    coarse, fine = (flow_error(sampler, log_snr_grid(sde, sde.T, EPS, n)) for n in (160, 640))
    assert np.log2(coarse / fine) / 2 >= order - 0.15


# errors after 40 steps on the uniform and on the log-SNR grid, by another program
MEASURED = [
    ("ddim", 4.7e-2, 5.7e-2),
    ("dpm_solver_2", 8.1e-3, 1.8e-3),
    ("dpm_solver_3", 1.4e-3, 6.5e-5),
    ("dpm_solver_pp_2s", 6.7e-3, 4.8e-3),
]


@pytest.mark.parametrize(("name", "uniform", "log_snr"), MEASURED)
def test_error_after_40_steps(x64, name, uniform, log_snr):
    sampler = ExponentialSampler(VP(), name)
    # Two digits are given.
    assert flow_error(sampler, uniform_grid(1.0, EPS, 40)) == pytest.approx(uniform, rel=0.04)
    assert flow_error(sampler, log_snr_grid(VP(), 1.0, EPS, 40)) == pytest.approx(log_snr, rel=0.04)


def states(sampler, grid, start):
    """At all times of the grid, of the mixture."""
    run = jax.jit(lambda x, grid: sampler(mixture(sampler.sde), grid, None, x, x, True).path)
    return np.asarray(run(jnp.asarray(start), grid))


# One step from x with the noise eps, as each paper writes it; h is the growth of lambda.
FIRST_ORDER = {
    "DDIM": lambda x, eps, h, now, then: (
        then.alpha * (x - now.sigma * eps) / now.alpha + then.sigma * eps
    ),
    "DPM-Solver-1": lambda x, eps, h, now, then: (
        then.alpha / now.alpha * x - then.sigma * np.expm1(h) * eps
    ),
    "DPM-Solver++(1)": lambda x, eps, h, now, then: (
        then.sigma / now.sigma * x - then.alpha * np.expm1(-h) * (x - now.sigma * eps) / now.alpha
    ),
}


@pytest.mark.slow  # A pair of them is in test_identities.py, others in test_multistep.py.
@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_first_order_methods_are_one(x64, sde):
    """DDIM, both DPM-Solvers of order 1 and Euler's method in sigma/alpha follow the same path."""
    grid, model = uniform_grid(sde.T, EPS, 6), mixture(sde)
    score = jax.jit(lambda x, t: model(x, t))
    start = ends_of_the_flow(sde)[0]
    ddim = states(ExponentialSampler(sde, "ddim"), grid, start)
    # VE has states of 50.
    euler = states(ProbabilityFlow(sde, GridSolver("euler"), "ratio"), grid, start)
    np.testing.assert_allclose(ddim, euler, rtol=1e-11, atol=1e-11)
    for published in FIRST_ORDER.values():
        x = start
        for k, (t, s) in enumerate(zip(grid[:-1], grid[1:], strict=True)):
            now, then = closed_form(sde, float(t)), closed_form(sde, float(s))
            eps = -now.sigma * np.asarray(score(jnp.asarray(x), jnp.full(63, t)))
            h = np.log(then.alpha * now.sigma / (then.sigma * now.alpha))
            x = published(x, eps, h, now, then)
            np.testing.assert_allclose(ddim[k + 1], x, rtol=1e-11, atol=1e-11)


def test_standard_normal_data_shrink_by_a_product_of_cosines(x64):
    """Here eps = sigma x, so each of 20 uniform steps is a factor cos(theta_t - theta_s), tan theta = sigma/alpha."""
    model = GaussianScore(jnp.zeros(1), jnp.ones(1), jnp.eye(1), VP())
    x = jnp.ones((1, 1))
    samples = along(ExponentialSampler(VP(), "ddim"))(model, uniform_grid(1.0, EPS, 20), x)
    assert float(samples.x[0, 0]) == pytest.approx(0.9127728760516656, abs=1e-13)


@pytest.mark.parametrize("num_steps", [pytest.param(1, marks=pytest.mark.slow), 5])
@pytest.mark.parametrize("name", list(ORDERS))
def test_exact_on_a_point_mass(x64, name, num_steps):
    """The predicted noise is then (x - alpha point) / sigma along the whole path."""
    sde = VP()
    point = np.array([0.5, -1.0])
    model = GaussianScore(jnp.asarray(point), jnp.zeros(2), jnp.eye(2), sde)
    z = np.array([[0.3, -1.2]])
    late, early = closed_form(sde, sde.T), closed_form(sde, EPS)
    start = jnp.asarray(late.alpha * point[None] + late.sigma * z)
    grid = uniform_grid(sde.T, EPS, num_steps)
    samples = along(ExponentialSampler(sde, name))(model, grid, start)
    expected = early.alpha * point + early.sigma * z
    # one step divides the round-off of x/alpha = 150 by the small sigma of its middle
    np.testing.assert_allclose(samples.x, expected, rtol=0, atol=1e-9)


OTHERS = [SLOW_SUBVP, VE(), Cosine()]


@pytest.mark.parametrize("name", ["ddim", pytest.param("dpm_solver_3", marks=pytest.mark.slow)])
@pytest.mark.parametrize("other", OTHERS, ids=lambda sde: type(sde).__name__)
def test_every_process_moves_x_over_alpha_alike(x64, other, name):
    """From sigma/alpha = 20 to 0.05 in the same steps, also for a process that defines only alpha and sigma."""
    log_snrs = -2.0 * jnp.log(jnp.array([20.0, 5.0, 1.0, 0.4, 0.05]))
    x_hat = jnp.linspace(-40.0, 40.0, 12)[:, None]

    def carried(sde):
        grid = sde.time_of_log_snr(log_snrs)
        alpha = sde.alpha(grid)
        x = along(ExponentialSampler(sde, name))(mixture(sde), grid, alpha[0] * x_hat).x
        return x / alpha[-1]

    expected = carried(VP())
    assert np.ptp(expected) > 1  # the states are told apart
    np.testing.assert_allclose(carried(other), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("num_steps", "expected"),
    fast_where(lambda num_steps, _: num_steps == 50, [(50, 0.096), (100, 0.055), (400, 0.0126)]),
)
def test_inversion_and_back(x64, num_steps, expected):
    """DDIM upwards, then downwards: root-mean-square distance as measured by another program."""
    grid, data = log_snr_grid(VP(), 1.0, EPS, num_steps), jnp.asarray(ends_of_the_flow(VP())[1])
    sampler, model = along(ExponentialSampler(VP(), "ddim")), mixture(VP())
    noise = sampler(model, grid[::-1], data).x
    back = sampler(model, grid, noise).x
    assert float(jnp.sqrt(jnp.mean((back - data) ** 2))) == pytest.approx(expected, rel=0.01)


def test_the_path_is_where_shorter_grids_end(x64):
    grid, start = uniform_grid(1.0, EPS, 6), jnp.asarray(ends_of_the_flow(VP())[0])
    sampler = ExponentialSampler(VP(), "dpm_solver_2")
    path = states(sampler, grid, start)
    assert path.shape == (7, 63, 1)
    x = along(sampler)(mixture(VP()), grid[:5], start).x
    np.testing.assert_allclose(path[4], x, rtol=0, atol=1e-14)
    np.testing.assert_allclose(path[0], start, rtol=0, atol=1e-14)


def solve(solver, lambdas, saveat):
    """x_hat of N(0, I) data by diffrax alone: dx_hat/drho = rho x_hat / (1 + rho^2), so x_hat ~ sqrt(1 + rho^2)."""

    def noise(lambda_, x_hat, args):
        return jnp.exp(-lambda_) / (1 + jnp.exp(-2 * lambda_)) * x_hat

    return diffrax.diffeqsolve(
        diffrax.ODETerm(noise),
        solver,
        lambdas[0],
        lambdas[-1],
        None,
        jnp.sqrt(1 + jnp.exp(-2 * lambdas[:1])),
        stepsize_controller=diffrax.StepTo(lambdas),
        saveat=saveat,
    ).ys[:, 0]


@pytest.mark.parametrize("last", [3.0, pytest.param(-7.0, marks=pytest.mark.slow)])
def test_states_between_the_steps(x64, last):
    """To third order in the step at worst, downwards and upwards; for DDIM straight lines in rho."""
    between = np.linspace(-2.0, last, 32)
    exact, errors = np.sqrt(1 + np.exp(-2 * between)), []
    for num_steps in (40, 80):
        lambdas = jnp.linspace(-2.0, last, num_steps + 1)
        states = solve(DPMSolver3(), lambdas, diffrax.SaveAt(ts=jnp.asarray(between)))
        errors.append(np.max(np.abs(states - exact) / exact))
    assert np.log2(errors[0] / errors[1]) > 2.5
    lambdas = jnp.linspace(-2.0, last, 5)
    knots = solve(DDIM(), lambdas, diffrax.SaveAt(t0=True, steps=True))[:5]
    states = solve(DDIM(), lambdas, diffrax.SaveAt(ts=jnp.asarray(between)))
    rho, ends = np.exp(-between), np.exp(-np.asarray(lambdas))
    order = np.argsort(ends)
    expected = np.interp(rho, ends[order], np.asarray(knots)[order])
    np.testing.assert_allclose(states, expected, rtol=1e-12)


def adaptively(sde, name, tolerance):
    """The error from T to EPS, and the evaluations."""
    start, exact = ends_of_the_flow(sde)
    sampler = ExponentialSampler(sde, name, adaptive=Adaptive(tolerance, tolerance))
    samples = along(sampler)(mixture(sde), jnp.array([sde.T, EPS]), jnp.asarray(start))
    assert samples.success
    return np.sqrt(np.mean((samples.x - exact) ** 2)), int(samples.nfe)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    product_where(
        lambda *case: case in [("dpm_solver_2", 1e-4), ("dpm_solver_3", 1e-2)],
        ["dpm_solver_2", "dpm_solver_3"],
        [1e-2, 1e-3, 1e-4],
    ),
)
def test_adaptive_steps_follow_the_tolerance(x64, name, tolerance):
    """The error is of the size of the tolerance: here from a tenth to twice of it."""
    error, _ = adaptively(VP(), name, tolerance)
    assert 0.05 * tolerance < error < 2 * tolerance


def test_adaptive_steps_are_much_the_same_in_every_process(x64):
    """Error control in units of x or of x/alpha would tolerate errors of the size of VE's, or VP's, noise."""
    nfe = []
    for sde in (VP(), VE()):
        error, evaluations = adaptively(sde, "dpm_solver_3", 0.05)
        assert error < 0.02  # in x/alpha: 0.1 under VE and 0.08 under VP at the same cost
        nfe.append(evaluations)
    assert np.ptp(nfe) <= 3


def test_an_image_may_have_its_own_steps():
    """With its own steps an image is the same alone and in a batch, with the same number of evaluations."""
    sde, ends = VP(), jnp.array([1.0, EPS])
    x = jax.random.normal(jax.random.key(0), (3, 2, 2, 1))
    own = ExponentialSampler(sde, "dpm_solver_3", adaptive=Adaptive(1e-3, 1e-3, each_image=True))
    shared = ExponentialSampler(sde, "dpm_solver_3", adaptive=Adaptive(1e-3, 1e-3))
    alone = functools.partial(along(shared), mixture(sde), ends)
    together = jax.jit(lambda x: own(mixture(sde), ends, None, x, x, keep_path=True))(x)
    assert together.path.shape == (2, 3, 2, 2, 1)
    np.testing.assert_array_equal(together.path[-1], together.x)
    for i in range(3):
        image = alone(x[i : i + 1])
        np.testing.assert_allclose(together.x[i], image.x[0], rtol=0, atol=2e-6)
        assert int(together.nfe[i]) == int(image.nfe)
    assert len(set(together.nfe.tolist())) > 1


def test_unfinished_solve_is_reported(monkeypatch):
    monkeypatch.setattr("score_sde.samplers.adaptive.MAX_STEPS", 3)
    sampler = ExponentialSampler(VP(), "dpm_solver_2", adaptive=Adaptive(1e-4, 1e-4))
    x = jnp.ones((2, 1))
    assert not sampler(mixture(VP()), jnp.array([1.0, EPS]), None, x, x).success


@pytest.mark.parametrize(
    ("name", "eta", "adaptive"),
    [
        ("dpm_solver_3", 0.0, None),
        *(
            pytest.param(n, 0.0, None, marks=pytest.mark.slow)
            for n in ORDERS
            if n != "dpm_solver_3"
        ),
        ("ddim", 0.5, None),
        ("dpm_solver_2", 0.0, Adaptive(1e-3, 1e-3)),
        pytest.param("dpm_solver_3", 0.0, Adaptive(1e-3, 1e-3), marks=pytest.mark.slow),
    ],
)
def test_nfe_is_the_number_of_calls(name, eta, adaptive, monkeypatch):
    """Every evaluation reports to the host. The first adaptive attempt spans half the interval and is rejected."""
    monkeypatch.setattr("score_sde.samplers.adaptive.FIRST_STEP", 0.5)
    calls, lock, sde = [0], threading.Lock(), VP()
    model = mixture(sde)

    def count(t):
        with lock:
            calls[0] += 1
        return np.asarray(t)

    def score(x, t):
        return model(x, jax.pure_callback(count, jax.ShapeDtypeStruct(t.shape, t.dtype), t))

    x = jax.random.normal(jax.random.key(0), (5, 3))
    sampler = ExponentialSampler(sde, name, eta, adaptive)
    noise = RecordedNoise(x, jnp.zeros((7, 1, 5, 3)))
    grid = uniform_grid(1.0, EPS, 7)
    samples = jax.jit(lambda: sampler(jax.tree_util.Partial(score), grid, noise, x))()
    assert samples.success
    assert int(samples.nfe) == calls[0]


@pytest.mark.parametrize(
    ("sde", "num_steps"), [(VP(), 40), pytest.param(VE(), 10, marks=pytest.mark.slow)]
)
def test_float32(sde, num_steps):
    """Rounding errors of the states at T, 50 under VE and 150 in x/alpha under VP, grow where modes separate."""
    x = ends_of_the_flow(sde)[0]

    def sample(dtype):
        model = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), mixture(sde))
        grid = jnp.asarray(np.geomspace(sde.T, EPS, num_steps + 1), dtype)
        return along(ExponentialSampler(sde, "dpm_solver_3"))(model, grid, jnp.asarray(x, dtype)).x

    single = sample(jnp.float32)
    assert single.dtype == jnp.float32
    with jax.enable_x64(True):
        double = sample(jnp.float64)
    np.testing.assert_allclose(single, double, rtol=0, atol=3e-4)


@pytest.mark.parametrize(
    ("name", "atol"),
    [pytest.param("dpm_solver_2", 2e-6, marks=pytest.mark.slow), ("unipc_3", 1e-4)],
)
def test_devices_and_images(name, atol):
    """Under pmap images behave like columns: the mixture's coordinates are independent."""
    sampler, model = ExponentialSampler(VP(), name), mixture(VP())
    grid = uniform_grid(1.0, EPS, 5)
    x = jax.random.normal(jax.random.key(0), (4, 2, 2, 2, 3))
    images = jax.pmap(lambda x: sampler(model, grid, None, x, x).x)(x)
    column = along(sampler)(model, grid, x.reshape(-1, 1)).x
    np.testing.assert_allclose(images.reshape(-1, 1), column, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rk4",), "method='rk4' is unknown; choose one of ddim, "),
        (("ddim", 1.5), "eta=1.5: expected 0 <= eta <= 1"),
        (("ddim", -0.1), "eta=-0.1: expected 0 <= eta <= 1"),
        (("ddim", float("nan")), "eta=nan: expected"),
        (("dpm_solver_2", 0.5), "'dpm_solver_2', which has no stochastic form: .* one of ddim"),
        (
            ("ddim", 0.0, Adaptive()),
            "'ddim' estimates no error.* one of dpm_solver_2, dpm_solver_3",
        ),
        (("dpm_solver_pp_2s", 0.0, Adaptive()), "estimates no error"),
        (("ddim", 0.5, Adaptive()), "eta=0.5 with adaptive steps"),
        (("dpm_solver_2", 0.0, Adaptive(rtol=0.0)), "rtol=0.0, .* tolerances must be positive"),
    ],
)
def test_unusable_settings_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        ExponentialSampler(VP(), *arguments)
