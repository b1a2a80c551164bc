"""Adaptive explicit Runge-Kutta solvers of diffrax, with an exact count of their function evaluations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import diffrax
import jax
import jax.numpy as jnp
from jax import Array


class SolverCost(NamedTuple):
    """An explicit solver and what it costs in evaluations of the vector field."""

    make: Callable[[], diffrax.AbstractSolver]
    attempt: int
    """For each attempted step, accepted or not."""
    first: int
    """Beyond that for each attempt until the first step is accepted: a method whose last stage is the next
    step's first (FSAL) has nothing to reuse before."""


SOLVERS: dict[str, SolverCost] = {
    "heun": SolverCost(diffrax.Heun, 2, 0),
    "midpoint": SolverCost(diffrax.Midpoint, 2, 0),
    "ralston": SolverCost(diffrax.Ralston, 2, 0),
    "bosh3": SolverCost(diffrax.Bosh3, 3, 1),
    "dopri5": SolverCost(diffrax.Dopri5, 6, 1),
    "tsit5": SolverCost(diffrax.Tsit5, 6, 1),
    "dopri8": SolverCost(diffrax.Dopri8, 13, 1),
}

IMPLICIT = (
    "implicit_euler",
    "kvaerno3",
    "kvaerno4",
    "kvaerno5",
    "kencarp3",
    "kencarp4",
    "kencarp5",
    "sil3",
)


def check_solver(name: str, table: dict[str, SolverCost], words: str) -> None:
    """Raise ValueError unless the table has a solver of this name."""
    choices = f"choose one of {', '.join(table)} ({words})"
    if name in IMPLICIT:
        raise ValueError(
            f"solver {name!r} is implicit: every step would solve equations in all pixels with the Jacobian of the "
            "network, many evaluations a pixel, and the flow is not stiff enough to repay it (in sigma/alpha not at all: "
            f"sampling.ode.variable='ratio'); {choices}"
        )
    if name not in table:
        raise ValueError(f"solver {name!r} is unknown; {choices}")


FIRST_STEP = 0.01  # length of the first attempt, in units of the whole interval
MAX_STEPS = 100_000  # a solve that needs more is reported as failed, not run for ever


class CountingController(diffrax.PIDController):
    """diffrax's controller, which also counts the attempts until the first accepted step.

    diffrax reports steps, not evaluations, and those attempts cost one more each (see `SolverCost.first`).
    """

    def init(self, *args: Any, **kwargs: Any) -> Any:
        dt, state = super().init(*args, **kwargs)
        return dt, (state, jnp.asarray(0), jnp.asarray(False))

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: Any,
        y1: Any,
        args: Any,
        y_error: Any,
        error_order: Any,
        state: Any,
    ) -> Any:
        state, attempts, accepted = state
        keep, t0, t1, made_jump, state, result = super().adapt_step_size(
            t0, t1, y0, y1, args, y_error, error_order, state
        )
        attempts = attempts + jnp.where(accepted, 0, 1)
        return keep, t0, t1, made_jump, (state, attempts, accepted | keep), result


class Adaptive(NamedTuple):
    """Step sizes of one batch, or with `each_image` of each image's own, which then depends on no other."""

    rtol: float = 0.05
    atol: float = 2.0 / 256.0
    """One of 256 levels, for images in [-1, 1] (Jolicoeur-Martineau et al. 2021, Sec. 4)."""
    each_image: bool = False

    def check(self) -> None:
        """Raise ValueError unless both are positive."""
        if not (self.rtol > 0 and self.atol > 0):
            raise ValueError(f"rtol={self.rtol}, atol={self.atol}: tolerances must be positive")


class Solver(Protocol):
    """What integrates dy/dt = vector_field(t, y, args) along times (n + 1,), which rise or fall.

    An adaptive solver goes from the first to the last; `keep_path` asks for the states at all of them.
    """

    def solve(
        self,
        vector_field: Callable[..., Any],
        y: Any,
        times: Array,
        args: Any,
        keep_path: bool = False,
    ) -> Solution: ...


class Solution(NamedTuple):
    """The end state, the evaluations of the vector field, and whether the solver got there."""

    y: Any
    nfe: Array
    success: Array
    path: Any = None
    """States at all times, leaves (n + 1, ...); None unless asked for."""


def saved(times: Array, keep_path: bool, controller_state: bool = False) -> diffrax.SaveAt:
    """What to keep of a solve: the states at all times, or the last one only."""
    return diffrax.SaveAt(
        ts=times if keep_path else None, t1=not keep_path, controller_state=controller_state
    )


@dataclasses.dataclass(frozen=True)
class AdaptiveSolver:
    """A solver by name with its tolerances. One step size serves the whole state, hence the whole batch."""

    name: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5

    def __post_init__(self):
        check_solver(self.name, SOLVERS, "explicit solvers that estimate their error")
        Adaptive(self.rtol, self.atol).check()

    def solve(
        self,
        vector_field: Callable[..., Any],
        y: Any,
        times: Array,
        args: Any,
        keep_path: bool = False,
    ) -> Solution:
        """Integrate dy/dt = vector_field(t, y, args) from times[0] to times[-1], either way in time."""
        solver = SOLVERS[self.name]
        times = jnp.asarray(times)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(vector_field),
            solver.make(),
            t0=times[0],
            t1=times[-1],
            dt0=FIRST_STEP * (times[-1] - times[0]),
            y0=y,
            args=args,
            saveat=saved(times, keep_path, controller_state=True),
            stepsize_controller=CountingController(rtol=self.rtol, atol=self.atol),
            # Nothing is differentiated through the solve: forward mode stores no history.
            adjoint=diffrax.ForwardMode(),
            max_steps=MAX_STEPS,
            throw=False,
        )
        stats = solution.stats
        attempts = stats["num_accepted_steps"] + stats["num_rejected_steps"]
        _, first_attempts, _ = solution.controller_state
        y_end = jax.tree.map(lambda leaf: leaf[-1], solution.ys)
        nfe = solver.attempt * attempts + solver.first * first_attempts
        success = solution.result == diffrax.RESULTS.successful
        return Solution(y_end, nfe, success, solution.ys if keep_path else None)
