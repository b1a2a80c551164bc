"""The step-size rules against SciPy's, step by step."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import RK45

from score_sde.samplers.adaptive import DormandPrince
from score_sde.samplers.step_size import HairerController, first_step


def pendulum(t, y, args):
    """Driven and stiffening, so that steps shrink and are rejected on the way."""
    return jnp.stack(
        [y[1], -jnp.sin(y[0]) * (1 + 30 * jnp.exp(-60 * (t - 0.6) ** 2)) + jnp.cos(9 * t)]
    )


def steps_of_scipy(t0, t1, y, rtol, atol):
    solver = RK45(lambda t, y: np.asarray(pendulum(t, y, None)), t0, y, t1, rtol=rtol, atol=atol)
    times = [t0]
    while solver.status == "running":
        solver.step()
        times.append(solver.t)
    return np.array(times), solver.nfev


@pytest.mark.parametrize(("t0", "t1"), [(0.0, 2.0), pytest.param(2.0, 0.0, marks=pytest.mark.slow)])
def test_steps_are_those_of_scipy(x64, t0, t1):
    """Accepted and rejected steps, in both directions of time, up to rounding."""
    y, rtol, atol = np.array([1.0, -0.3]), 1e-5, 1e-7
    times, nfev = steps_of_scipy(t0, t1, y, rtol, atol)
    dt0, _ = first_step(
        pendulum, jnp.asarray(y), jnp.asarray(t0), jnp.asarray(t1), None, 5, rtol, atol
    )
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(pendulum),
        DormandPrince(),
        t0,
        t1,
        dt0,
        jnp.asarray(y),
        saveat=diffrax.SaveAt(steps=True),
        stepsize_controller=HairerController(rtol=rtol, atol=atol),
        max_steps=200,
        adjoint=diffrax.ForwardMode(),
    )
    accepted, rejected = (int(solution.stats[f"num_{k}_steps"]) for k in ("accepted", "rejected"))
    np.testing.assert_allclose(solution.ts[:accepted], times[1:], rtol=1e-6)
    assert 2 + 6 * (accepted + rejected) == nfev
    assert rejected > 1  # or the rule after a rejection was never asked


@pytest.mark.parametrize(
    ("y", "slope"), [(3.0, 2.0), (3.0, 1e-12), (0.0, 5.0), (1e3, 1e-3), (1e-9, 1.0)]
)
def test_first_step_is_scipys(x64, y, slope):
    """Large, small and zero states and slopes; a slope so small that nothing moves."""

    def field(t, y):
        return slope * (1 + 3 * t) * np.ones(2) + 0.1 * slope * y

    start = np.full(2, y)
    expected = RK45(field, 0.5, start, 0.1, rtol=1e-4, atol=1e-6).h_abs
    dt, f0 = first_step(
        lambda t, y, args: field(t, y),
        jnp.asarray(start),
        jnp.asarray(0.5),
        jnp.asarray(0.1),
        None,
        5,
        1e-4,
        1e-6,
    )
    np.testing.assert_allclose(dt, -expected, rtol=1e-9)
    np.testing.assert_allclose(f0, field(0.5, start), rtol=1e-12)


def test_a_step_is_never_lost_in_rounding():
    """At rest the rule proposes 1e-6, which is lost when added to 150 in float32; the smallest representable step is taken."""
    dt, _ = first_step(
        lambda t, y, args: 0 * y, jnp.ones(2), jnp.asarray(150.0), jnp.asarray(0.01), None, 5, 1e-5, 1e-5
    )  # fmt: skip
    assert 150.0 + dt < 150.0
    assert -dt < 1e-3


def test_a_solver_that_cannot_go_on_says_so():
    """If the slope is NaN no step is accepted, and steps shrink until times no longer differ."""

    def field(t, y, args):
        return jnp.where(t > 0.5, jnp.nan, y)

    @jax.jit
    def solve():
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field), DormandPrince(), 0.0, 1.0, 0.1, jnp.ones(2), max_steps=1000, throw=False,
            stepsize_controller=HairerController(rtol=1e-4, atol=1e-4), adjoint=diffrax.ForwardMode(),
        )  # fmt: skip

    solution = solve()
    assert solution.result == diffrax.RESULTS.dt_min_reached
    assert solution.stats["num_steps"] < 100
