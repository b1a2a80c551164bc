"""The ODE along fixed grids: measured orders, errors against an independent computation, and counted evaluations."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_sde.configs.toy_mixture import get_config
from score_sde.errors import UserError
from score_sde.modes.sample import check
from score_sde.samplers.configured import configure
from score_sde.samplers.fixed_steps import FIXED_SOLVERS, GridSolver
from score_sde.sde_lib import VE, VP
from tests.fast_cases import fast_where, product_where
from tests.samplers.closed_forms import PROCESSES
from tests.samplers.mixture_flow import EPS, flow_error


def along(sde, name, grid, num_steps):
    """The configured sampler."""
    config = get_config()
    config.sampling.sampler = "ode"
    config.sampling.eps = EPS
    config.sampling.grid.name = grid
    config.sampling.ode.update(solver=name, steps="grid", num_steps=num_steps)
    return configure(config.sampling, sde)


def root_mean_square_error(sde, name, grid, num_steps):
    return flow_error(*along(sde, name, grid, num_steps)[:2])


# (solver, error after 40 steps on the uniform and on the log-SNR grid), the errors by another program
MEASURED = [
    ("euler", 1.1e-2, 1.8e-2),
    ("heun", 3.5e-3, 6.9e-4),
    ("tsit5", 1.3e-6, 1.0e-7),
]


@pytest.mark.parametrize(("name", "uniform", "log_snr"), MEASURED)
def test_error_after_40_steps(x64, name, uniform, log_snr):
    for grid, expected in (("uniform", uniform), ("log_snr", log_snr)):
        # Two digits are given.
        assert root_mean_square_error(VP(), name, grid, 40) == pytest.approx(expected, rel=0.05)


ORDERS = {
    "euler": 1, "leapfrog_midpoint": 2, "reversible_heun": 2, "heun": 2, "midpoint": 2, "ralston": 2,
    "bosh3": 3, "dopri5": 5, "tsit5": 5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("sde", "name"),
    product_where(
        # Of those in MEASURED the errors themselves are known.
        lambda sde, name: sde == VP() and name not in [row[0] for row in MEASURED],
        PROCESSES,
        ORDERS,
    ),
    ids=str,
)
def test_order(x64, sde, name):
    """The slope of the error from 160 to 320 steps of equal log-SNR is the order, or better.

    Under VE, whose noise spans a factor of 5,000, methods of one evaluation per step reach it only with far more steps.
    """
    late = sde == VE() and FIXED_SOLVERS[name].attempt == 1
    steps = (2560, 5120) if late else (160, 320)
    coarse, fine = (root_mean_square_error(sde, name, "log_snr", n) for n in steps)
    assert np.log2(coarse / fine) >= ORDERS[name] - 0.15


def test_the_eighth_order_solver_is_exact_to_round_off(x64):
    assert root_mean_square_error(VP(), "dopri8", "log_snr", 80) < 1e-11


# Of one evaluation and of more, with a first one beyond them and without.
COUNTED = ["euler", "reversible_heun", "heun", "dopri5", "dopri8"]


@pytest.mark.parametrize("name", fast_where(lambda name: name in COUNTED, zip(FIXED_SOLVERS)))
def test_nfe_is_the_number_of_calls(name):
    calls, lock = [0], threading.Lock()

    def count(t):
        with lock:
            calls[0] += 1
        return np.asarray(t)

    def field(t, x, args):
        t = jax.pure_callback(count, jax.ShapeDtypeStruct((), t.dtype), t)
        return -x * t

    times = along(VP(), name, "log_snr", 7).grid
    solution = jax.jit(lambda x: GridSolver(name).solve(field, x, times, None))(jnp.ones((2, 3)))
    assert solution.success
    assert int(solution.nfe) == calls[0]


def test_unusable_settings_are_refused():
    with pytest.raises(ValueError, match="solver='rk4' is unknown; choose one of euler, leapfrog"):
        GridSolver("rk4")
    with pytest.raises(ValueError, match="solver 'kvaerno5' is implicit: .* choose one of euler"):
        GridSolver("kvaerno5")
    config = get_config()
    config.sampling.sampler = "ode"
    config.sampling.ode.steps = "fixed"
    with pytest.raises(UserError, match="sampling.ode.steps='fixed' is unknown; choose one of"):
        check(config, VP())
    config.sampling.ode.update(steps="grid", num_steps=0)
    with pytest.raises(UserError, match="sampling.ode.num_steps=0: expected a positive"):
        check(config, VP())


def test_a_list_of_times_is_that_of_the_sampler_in_use():
    """Its length is checked against the ODE's number of steps, not against that of the other sampler."""
    config = get_config()
    config.sampling.sampler = "ode"
    config.sampling.grid.update(name="times", times=(1.0, 0.4, 1e-3))
    config.sampling.ode.update(steps="grid", num_steps=2)
    check(config, VP())
    config.sampling.sampler = "pc"
    with pytest.raises(UserError, match="are 2 steps, but num_steps=1000"):
        check(config, VP())
    config.sampling.pc.num_steps = 2
    config.sampling.ode.num_steps = 7
    check(config, VP())
