"""Multistep exponential integrators: measured orders and errors, exact cases, the published recursions."""

import functools
import math
import threading

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from score_sde.samplers.exponential.deis import deis_in_ratio, deis_in_time
from score_sde.samplers.exponential.methods import EXPONENTIAL
from score_sde.samplers.exponential.multistep import bh1, bh2
from score_sde.samplers.exponential.sampler import ExponentialSampler
from score_sde.samplers.exponential.single_step import DDIM
from score_sde.samplers.exponential.unipc import unip, unipc
from score_sde.samplers.grids import log_snr_grid, uniform_grid
from score_sde.samplers.ode import noise_at
from score_sde.sde_lib import VE, VP
from tests.fast_cases import product_where
from tests.samplers.closed_forms import PROCESSES, closed_form
from tests.samplers.mixture_flow import EPS, along, ends_of_the_flow, mixture

ORDERS = {
    "dpm_solver_pp_2m": 2,
    "dpm_solver_pp_3m": 2,
    "deis_t_1": 2,
    "deis_t_2": 3,
    "deis_t_3": 4,
    "deis_rho_1": 2,
    "deis_rho_2": 3,
    "deis_rho_3": 4,
    "unip_3": 3,
    "unipc_2_bh1": 3,
    "unipc_2_bh2": 3,
    "unipc_3": 4,
}
UNEQUAL = np.array([-4.0, -3.1, -2.7, -1.2, -1.0, 0.3, 1.5])


def steps(solver, field):
    """(state, memory) at each lambda, by the solver's own steps: `start`, and `step` from one lambda to the next."""
    term = diffrax.ODETerm(field)

    def start(x, lambdas):
        return x, solver.init(term, lambdas[0], lambdas[1], x, None)

    def step(carry, now, then):
        x, memory = carry
        x, _, _, memory, _ = solver.step(term, now, then, x, None, memory, False)
        return x, memory

    return start, step


def path(solver, field, lambdas, x):
    """x_hat at every lambda, operation by operation: quicker than to compile, for some steps."""
    lambdas = jnp.asarray(lambdas)
    start, step = steps(solver, field)
    carry = start(jnp.asarray(x), lambdas)
    states = [carry[0]]
    for now, then in zip(lambdas[:-1], lambdas[1:], strict=True):
        carry = step(carry, now, then)
        states.append(carry[0])
    return np.array(states)


@functools.cache
def march(sde, name):
    """(x_hat, lambdas, number of steps) -> x_hat at the last: compiled once for all of up to 1,300 steps."""
    model = mixture(sde)
    start, step = steps(
        EXPONENTIAL[name].make(sde), lambda lambda_, x, _: noise_at(sde, 2 * lambda_, x, model)
    )

    @jax.jit
    def solve(x, lambdas, num_steps):
        def body(k, carry):
            return step(carry, lambdas[k], lambdas[k + 1])

        return jax.lax.fori_loop(0, num_steps, body, start(x, lambdas))[0]

    return lambda x, lambdas: solve(
        jnp.asarray(x), jnp.zeros(1301).at[: len(lambdas)].set(lambdas), len(lambdas) - 1
    )


def error(sde, name, grid):
    """Root mean square distance from the flow from T to EPS."""
    start, exact = ends_of_the_flow(sde)
    alpha = sde.alpha(grid)
    x = alpha[-1] * march(sde, name)(start / alpha[0], 0.5 * sde.log_snr(grid))
    return float(np.sqrt(np.mean((x - exact) ** 2)))


def halved(sde, grid, halvings):
    """The same grid with its first step split in lambda, from the left, at 1/2, 1/4 and so on."""
    first, second = 0.5 * sde.log_snr(grid[:2])
    shares = 0.5 ** jnp.arange(halvings, 0, -1)
    more = sde.time_of_log_snr(2 * (first + shares * (second - first)))
    return jnp.concatenate([grid[:1], more, grid[1:]])


def test_the_published_start_shows_when_all_else_is_small(x64):
    """The first steps have fewer predictions than the order needs: at 1e-8, deis_t_3 under VE has order 2."""
    grids = (log_snr_grid(VE(), VE().T, EPS, n) for n in (640, 1280))
    coarse, fine = (error(VE(), "deis_t_3", grid) for grid in grids)
    assert coarse < 2e-8
    assert np.log2(coarse / fine) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("name", ["dpm_solver_pp_3m", "deis_t_3", "unipc_3"])
def test_no_product_is_rounded_to_fewer_bits_than_its_factors(name):
    """As GPUs do in products of float32 that do not ask for more."""
    start, step = steps(EXPONENTIAL[name].make(VP()), lambda lambda_, x, _: x)
    move = jax.jit(lambda x, lambdas: step(start(x, lambdas), *lambdas))
    program = move.lower(jnp.ones((2, 3)), jnp.array([-3.0, -2.0])).as_text()
    products = [line for line in program.splitlines() if "dot_general" in line]
    assert products
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


@pytest.mark.parametrize(
    ("sde", "name"),
    product_where(
        lambda sde, name: sde == VP() or (sde, name) == (VE(), "deis_t_3"), PROCESSES, ORDERS
    ),
    ids=str,
)
def test_order(x64, sde, name):
    """The slope of the error between n and 2 n steps of equal log-SNR, with and without short first steps.

    Order 4 appears late and needs the short steps: under VE the published start shows in deis_t_3 from 320 on.
    """
    order = ORDERS[name]
    assert EXPONENTIAL[name].order == order
    n = 640 if order == 4 else 320
    for halvings in (6,) if order == 4 else (0, 6):
        grids = (log_snr_grid(sde, sde.T, EPS, k) for k in (n, 2 * n))
        coarse, fine = (error(sde, name, halved(sde, grid, halvings)) for grid in grids)
        assert np.log2(coarse / fine) >= order - 0.15


@pytest.mark.parametrize(("name", "order"), [("unip_3", 2), ("unipc_2_bh1", 3)])
def test_order_from_the_middle(x64, name, order):
    """From t = 0.5 the published start reduces the order, and a corrector repairs it."""
    x = np.linspace(-2.0, 2.0, 16)[:, None]

    def end(name, num_steps):
        return march(VP(), name)(x, np.linspace(-1.25, 3.0, num_steps + 1))

    exact = end("unipc_2_bh1", 1300)
    coarse, fine = (jnp.linalg.norm(end(name, n) - exact) for n in (160, 320))
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.15)


# errors after 40 steps on the uniform and on the log-SNR grid, by another program
MEASURED = [
    ("dpm_solver_pp_2m", 3.3e-2, 4.9e-3),
    ("dpm_solver_pp_3m", 1.2e-1, 1.1e-3),
    ("deis_t_1", 7.6e-3, 1.6e-2),
    ("deis_t_2", 2.7e-3, 4.5e-3),
    ("deis_t_3", 3.2e-3, 2.0e-3),
]


@pytest.mark.parametrize(("name", "uniform", "log_snr"), MEASURED)
def test_error_after_40_steps(x64, name, uniform, log_snr):
    # Two digits are given.
    assert error(VP(), name, uniform_grid(1.0, EPS, 40)) == pytest.approx(uniform, rel=0.05)
    assert error(VP(), name, log_snr_grid(VP(), 1.0, EPS, 40)) == pytest.approx(log_snr, rel=0.05)


@jax.jit
def of_mixture(lambda_, x, args):
    """eps_hat of the mixture, the same for every process."""
    return noise_at(VP(), 2 * lambda_, x, mixture(VP()))


def test_first_order_is_ddim(x64):
    x = np.linspace(-50.0, 50.0, 8)[:, None]
    ddim = path(DDIM(), of_mixture, UNEQUAL, x)
    for solver in (deis_in_ratio(0), deis_in_time(0, VP()), unip(1, bh1), unip(1, bh2)):
        np.testing.assert_allclose(
            path(solver, of_mixture, UNEQUAL, x), ddim, rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("name", list(ORDERS))
def test_constant_noise_is_exact(x64, name):
    """sum_j C_j = sigma_s - (alpha_s / alpha_t) sigma_t in every step, which is rho_s - rho_t in x / alpha."""
    eps = jnp.array([0.7, -1.3])
    states = path(EXPONENTIAL[name].make(VP()), lambda *_: eps, UNEQUAL, np.array([3.0, 0.5]))
    rho = np.exp(-UNEQUAL)
    expected = np.array([3.0, 0.5]) + (rho - rho[0])[:, None] * np.asarray(eps)
    np.testing.assert_allclose(states, expected, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_polynomials_in_rho_are_exact(x64, order):
    """Exact once there are enough predictions: d x_hat = rho^order drho."""
    lambdas = 0.5 * UNEQUAL
    states = path(
        deis_in_ratio(order), lambda at, x, _: jnp.exp(-order * at) + 0 * x, lambdas, [0.0]
    )
    exact = np.exp(-(order + 1) * lambdas) / (order + 1)
    steps = np.diff(np.asarray(states)[:, 0])[order:]
    np.testing.assert_allclose(steps, np.diff(exact)[order:], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_polynomials_in_t_are_exact(x64, sde, order):
    """Exact once there are enough predictions: x_hat grows by the integral of t^order drho."""
    times = np.array([0.95, 0.8, 0.72, 0.6, 0.45, 0.37])
    lambdas = 0.5 * sde.log_snr(jnp.asarray(times))

    def field(lambda_, x, args):
        return sde.time_of_log_snr(2 * lambda_) ** order + 0 * x

    def by_parts(t, s):
        def rho(t):
            return closed_form(sde, t).sigma / closed_form(sde, t).alpha

        rest = quad(lambda u: order * u ** (order - 1) * rho(u), s, t, epsabs=0, epsrel=1e-13)[0]
        return s**order * rho(s) - t**order * rho(t) + rest

    states = path(deis_in_time(order, sde), field, lambdas, [0.0])
    steps = np.diff(np.asarray(states)[:, 0])[order:]
    exact = [by_parts(t, s) for t, s in zip(times[:-1], times[1:], strict=True)][order:]
    np.testing.assert_allclose(steps, exact, rtol=1e-10)


@pytest.mark.parametrize("name", list(ORDERS))
def test_exact_on_a_point_mass(x64, name):
    """The noise is then (x_hat - point) / rho along the whole path, and the data are the point."""
    point, z = np.array([0.5, -1.0]), np.array([0.3, -1.2])

    def field(lambda_, x, args):
        return (x - point) * jnp.exp(lambda_)

    expected = point + np.exp(-UNEQUAL)[:, None] * z
    states = path(EXPONENTIAL[name].make(VP()), field, UNEQUAL, expected[0])
    np.testing.assert_allclose(states, expected, rtol=0, atol=1e-11)


def test_second_order_by_hand(x64):
    """DPM-Solver++(2M) with h = ln 2 twice and data predictions 1, then 4: r = 1, D = 3/2 4 - 1/2 1 = 11/2.

    x_hat: 8 -> 8/2 + 1/2 1 = 9/2 -> 9/4 + 1/2 11/2 = 5.
    """
    lambdas = np.log([1.0, 2.0, 4.0])

    def field(lambda_, x, args):
        data = jnp.where(lambda_ < 0.5, 1.0, 4.0)
        return (x - data) * jnp.exp(lambda_)

    solver = EXPONENTIAL["dpm_solver_pp_2m"].make(VP())
    np.testing.assert_allclose(
        path(solver, field, lambdas, [8.0])[:, 0], [8.0, 4.5, 5.0], rtol=1e-14
    )


def phi(k, z):
    """phi_k(z) = sum_n z^n / (n + k)!, of exponential integrators."""
    return sum(z**n / math.factorial(n + k) for n in range(30))


def published_unipc(p, b, corrects, bend=1.0):
    """UniPC's systems R_p(h) a = phi_p(h) / B(h) (Zhao et al. 2023, Sec. 3), on data predictions; x_hat at every lambda.

    `bend` scales the second difference: 1/2 is the code of DPM-Solver++(3M).
    """

    def combine(x, h, data, others):
        """x_hat after h, from the prediction at its start and others [(r, data there)] at start + r h."""
        capital = {"bh1": h, "bh2": -np.expm1(-h)}[b]
        known = np.exp(-h) * x - np.expm1(-h) * data
        if not others:
            return known
        r, differences = np.array([r for r, _ in others]), [(d - data) / r for r, d in others]
        if len(others) == 1:
            return known + capital * 0.5 * differences[0]
        # the integral of exp(-h (1 - s)) s^k ds h over [0, 1] is h k! phi_{k+1}(-h)
        moments = [h * math.factorial(k) * phi(k + 1, -h) for k in range(1, len(r) + 1)]
        moments[1] *= bend
        a = np.linalg.solve(np.vander(r, increasing=True).T, moments)
        # r is inside the differences: sum_m a_m r_m^(k-1) = the moment of s^k
        return known + sum(a_m * d for a_m, d in zip(a, differences, strict=True))

    def sample(field, lambdas, x):
        states, history = [x], []
        for k, (now, then) in enumerate(zip(lambdas[:-1], lambdas[1:], strict=True)):
            data = states[-1] - np.exp(-now) * np.asarray(field(now, jnp.asarray(states[-1]), None))
            if corrects and k:
                before, h = history[0][0], now - history[0][0]
                others = [((at - before) / h, d) for at, d in [(now, data), *history[1:]]]
                x = combine(x, h, history[0][1], others)
            elif not corrects:
                x = states[-1]
            history = [(now, data), *history][:p]
            h = then - now
            states.append(combine(x, h, data, [((at - now) / h, d) for at, d in history[1:]]))
        return np.array(states)

    return sample


@pytest.mark.parametrize(
    ("solver", "arguments"),
    [
        (unip(2, bh1), (2, "bh1", False)),
        (unip(3, bh1), (3, "bh1", False)),
        (unip(3, bh2), (3, "bh2", False)),
        (unipc(1, bh1), (1, "bh1", True)),
        (unipc(2, bh1), (2, "bh1", True)),
        (unipc(2, bh2), (2, "bh2", True)),
        (unipc(3, bh1), (3, "bh1", True)),
        (unipc(3, bh2), (3, "bh2", True)),
        (EXPONENTIAL["dpm_solver_pp_3m"].make(VP()), (3, "bh2", False, 0.5)),
    ],
)
def test_published_systems(x64, solver, arguments):
    x = np.linspace(-50.0, 50.0, 8)[:, None]
    published = published_unipc(*arguments)(of_mixture, UNEQUAL, x)
    np.testing.assert_allclose(
        path(solver, of_mixture, UNEQUAL, x), published, rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("name", ["dpm_solver_pp_3m", "deis_t_3", "unipc_3"])
def test_nfe_is_the_number_of_calls(name):
    calls, lock, sde = [0], threading.Lock(), VP()
    model = mixture(sde)

    def count(t):
        with lock:
            calls[0] += 1
        return np.asarray(t)

    def score(x, t):
        return model(x, jax.pure_callback(count, jax.ShapeDtypeStruct(t.shape, t.dtype), t))

    x, grid = jax.random.normal(jax.random.key(0), (5, 3)), uniform_grid(1.0, EPS, 7)
    sampler = ExponentialSampler(sde, name)
    samples = jax.jit(lambda: sampler(jax.tree_util.Partial(score), grid, None, x, x))()
    assert samples.success
    assert int(samples.nfe) == calls[0] == 7


@pytest.mark.parametrize("name", [pytest.param("deis_t_3", marks=pytest.mark.slow), "unipc_3"])
def test_the_path_is_that_of_the_steps(x64, name):
    """Those of the sampler in x, and of the solver itself in x/alpha."""
    sde, grid, start = VP(), uniform_grid(1.0, EPS, 6), jnp.asarray(ends_of_the_flow(VP())[0])
    sampler = ExponentialSampler(sde, name)
    states = jax.jit(lambda x: sampler(mixture(sde), grid, None, x, x, True).path)(start)
    alpha = np.asarray(sde.alpha(grid))[:, None, None]
    lambdas = 0.5 * sde.log_snr(grid)
    expected = alpha * path(EXPONENTIAL[name].make(sde), of_mixture, lambdas, start / alpha[0])
    np.testing.assert_allclose(states, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["deis_t_3", pytest.param("unipc_3", marks=pytest.mark.slow)])
def test_from_data_to_noise(x64, name):
    """Upwards along a grid, too: from EPS back to the quantiles at T."""
    sde, (noise, data) = VP(), ends_of_the_flow(VP())
    grid = log_snr_grid(sde, sde.T, EPS, 160)[::-1]
    x = along(ExponentialSampler(sde, name))(mixture(sde), grid, jnp.asarray(data)).x
    np.testing.assert_allclose(x, noise, rtol=0, atol=1e-3)


def test_states_between_the_steps(x64):
    """To third order: x_hat of N(0, I) data is sqrt(1 + rho^2)."""
    between = np.linspace(-2.0, 3.0, 32)
    exact, errors = np.sqrt(1 + np.exp(-2 * between)), []
    for num_steps in (40, 80):
        lambdas = jnp.linspace(-2.0, 3.0, num_steps + 1)
        states = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda at, x, _: jnp.exp(-at) / (1 + jnp.exp(-2 * at)) * x),
            unipc(2, bh2),
            lambdas[0],
            lambdas[-1],
            None,
            jnp.sqrt(1 + jnp.exp(-2 * lambdas[0]))[None],
            stepsize_controller=diffrax.StepTo(lambdas),
            saveat=diffrax.SaveAt(ts=jnp.asarray(between)),
        ).ys[:, 0]
        errors.append(np.max(np.abs(states - exact) / exact))
    assert np.log2(errors[0] / errors[1]) > 2.5


@pytest.mark.parametrize(
    ("num_steps", "name"),
    product_where(
        lambda num_steps, name: (num_steps, name) == (10, "unipc_3"),
        [10, 40],
        ["dpm_solver_pp_3m", "deis_t_3", "deis_rho_3", "unipc_3"],
    ),
)
def test_float32(num_steps, name):
    """Rounding errors of the states at T, 150 in x/alpha, grow where modes separate."""
    x = ends_of_the_flow(VP())[0] * 150

    def sample(dtype):
        model = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), mixture(VP()))
        lambdas = jnp.linspace(-5.0, 4.5, num_steps + 1, dtype=dtype)
        field = jax.jit(lambda lambda_, x, _: noise_at(VP(), 2 * lambda_, x, model))
        return path(EXPONENTIAL[name].make(VP()), field, lambdas, jnp.asarray(x, dtype))[-1]

    single = sample(jnp.float32)
    assert single.dtype == np.float32
    with jax.enable_x64(True):
        double = sample(jnp.float64)
    np.testing.assert_allclose(single, double, rtol=0, atol=3e-4)


def test_unusable_orders_are_refused():
    with pytest.raises(ValueError, match="through 0 predictions: expected 1 or more"):
        deis_in_ratio(-1)
