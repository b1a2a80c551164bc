"""Adaptive explicit Runge-Kutta solvers of diffrax, with an exact count of their function evaluations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, ClassVar, NamedTuple, Protocol

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from score_sde.errors import ConfigError
from score_sde.options import choose
from score_sde.samplers.step_size import Field, HairerController, first_step
from score_sde.shapes import Array, Points, Scalar


class SolverCost(NamedTuple):
    """An explicit solver and what it costs in evaluations of the vector field."""

    make: Callable[[], diffrax.AbstractSolver]
    attempt: int
    """For each attempted step, accepted or not."""
    first: int
    """Beyond that in all: 1 for a method whose last stage is the next step's first (FSAL), which has nothing to
    reuse before its first step."""


class DormandPrince(diffrax.Dopri5):
    """diffrax's Dopri5 with the error estimate of Dormand and Prince (1980), as in SciPy's RK45.

    diffrax takes Shampine's, the same combination of stages in other units: two thirds of it.
    """

    tableau: ClassVar[diffrax.ButcherTableau] = dataclasses.replace(
        diffrax.Dopri5.tableau, b_error=1.5 * np.asarray(diffrax.Dopri5.tableau.b_error)
    )


SOLVERS: dict[str, SolverCost] = {
    "heun": SolverCost(diffrax.Heun, 2, 0),
    "midpoint": SolverCost(diffrax.Midpoint, 2, 0),
    "ralston": SolverCost(diffrax.Ralston, 2, 0),
    "bosh3": SolverCost(diffrax.Bosh3, 3, 1),
    "dopri5": SolverCost(DormandPrince, 6, 1),
    "tsit5": SolverCost(diffrax.Tsit5, 6, 1),
    "dopri8": SolverCost(diffrax.Dopri8, 13, 1),
}

IMPLICIT = "implicit_euler kvaerno3 kvaerno4 kvaerno5 kencarp3 kencarp4 kencarp5 sil3".split()


def check_solver(name: str, table: dict[str, SolverCost], words: str) -> None:
    """Raise ConfigError unless the table has a solver of this name."""
    if name in IMPLICIT:
        raise ConfigError(
            f"solver {name!r} is implicit: every step would solve equations in all pixels with the Jacobian of the "
            "network, many evaluations a pixel, and the flow is not stiff enough to repay it (in sigma/alpha not at all: "
            f"sampling.ode.variable='ratio'); choose one of {', '.join(table)} ({words})"
        )
    choose("solver", name, table)


# Length of the first attempt of samplers that cannot estimate one, in units of the whole interval
FIRST_STEP = 0.01
FIRST_STEP_COST = 2  # evaluations of `first_step`, the first stage of a FSAL method among them
MAX_STEPS = 100_000  # a solve that needs more is reported as failed, not run for ever


ADJOINTS: dict[str, Callable[[], diffrax.AbstractAdjoint]] = {
    "forward": diffrax.ForwardMode,
    "recursive_checkpoint": diffrax.RecursiveCheckpointAdjoint,
    "backsolve": diffrax.BacksolveAdjoint,
}


class Adaptive(NamedTuple):
    """Step sizes of one batch, or with `each_image` of each image's own, which then depends on no other."""

    rtol: float = 0.05
    atol: float = 2.0 / 256.0
    """One of 256 levels, for images in [-1, 1] (Jolicoeur-Martineau et al. 2021, Sec. 4)."""
    each_image: bool = False

    def check(self, solver: str, able: Collection[str]) -> None:
        """Raise ConfigError unless both are positive, and the solver one of those that estimate their error."""
        if solver not in able:
            raise ConfigError(
                f"{solver!r} estimates no error, which adaptive steps need: take the steps of a grid, or choose one of "
                f"{', '.join(able)}"
            )
        if not (self.rtol > 0 and self.atol > 0):
            raise ConfigError(f"rtol={self.rtol}, atol={self.atol}: tolerances must be positive")


class Solver(Protocol):
    """What integrates dy/dt = field(t, y, args) along times (n + 1,), which rise or fall.

    An adaptive solver goes from the first to the last; `keep_path` asks for the states at all of them.
    """

    def solve(
        self, field: Field, y: Any, times: Points, args: Any, keep_path: bool = False
    ) -> Solution: ...


class Solution(NamedTuple):
    """The end state, the evaluations of the vector field, and whether the solver got there."""

    y: Any
    nfe: Array
    success: Array
    path: Any = None
    """States at all times, leaves (n + 1, ...); None unless asked for."""


def solve_along(
    times: Points,
    terms: Any,
    solver: diffrax.AbstractSolver,
    y: Any,
    args: Any,
    keep_path: bool,
    each: int,
    once: int = 0,
    **steps: Any,
) -> Solution:
    """diffrax's solve from the first of the times to the last: by steps from each to the next, unless `steps` say otherwise.

    It takes `each` evaluations for each step, rejected ones included, and `once` beyond.
    """
    along: dict[str, Any] = {
        "dt0": None,
        "stepsize_controller": diffrax.StepTo(times),
        "max_steps": len(times),
        "adjoint": diffrax.ForwardMode(),  # stores no history
        "saveat": diffrax.SaveAt(ts=times if keep_path else None, t1=not keep_path),
    }
    solution = diffrax.diffeqsolve(
        terms, solver, times[0], times[-1], y0=y, args=args, throw=False, **along | steps
    )
    y_end = jax.tree.map(lambda leaf: leaf[-1], solution.ys)
    nfe = each * solution.stats["num_steps"] + once
    success = solution.result == diffrax.RESULTS.successful
    return Solution(y_end, nfe, success, solution.ys if keep_path else None)


def own_steps(length: Scalar, controller: diffrax.AbstractStepSizeController) -> dict[str, Any]:
    """For `solve_along`: steps of a controller's choice, of a solve of this length that cannot estimate its first."""
    return {"dt0": FIRST_STEP * length, "max_steps": MAX_STEPS, "stepsize_controller": controller}


@dataclasses.dataclass(frozen=True)
class AdaptiveSolver:
    """A solver by name with its tolerances. One step size serves the whole state, hence the whole batch.

    `adjoint` says how a solve is differentiated:
      forward: by jax.jvp only, and nothing is stored. jax.grad fails in it, with JAX's words "Reverse-mode
        differentiation does not work for lax.while_loop": take another.
      recursive_checkpoint: by jax.grad, through the solver's own steps, some of which are stored and the others made
        again on the way back. The exact gradient of what was computed.
      backsolve: by jax.grad, by the adjoint equation solved backwards (Chen et al. 2018, Algorithm 1). It stores the
        end only, errs by a few tolerances, and differentiates in y and args: the field must close over nothing.
    """

    name: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5
    adjoint: str = "forward"

    def __post_init__(self):
        check_solver(self.name, SOLVERS, "explicit solvers that estimate their error")
        Adaptive(self.rtol, self.atol).check(self.name, SOLVERS)
        choose("adjoint", self.adjoint, ADJOINTS)

    def solve(
        self, field: Field, y: Any, times: Points, args: Any, keep_path: bool = False
    ) -> Solution:
        """Cost: two evaluations for the length of the first step, and the solver's for each attempted step."""
        cost, solver = SOLVERS[self.name], SOLVERS[self.name].make()
        times = jnp.asarray(times)
        order = solver.error_order(diffrax.ODETerm(field))
        dt0, slope = first_step(field, y, times[0], times[-1], args, order, self.rtol, self.atol)
        leaves, tree = jax.tree.flatten(args)

        def of_leaves(t: Any, y: Any, leaves: Any) -> Any:
            return field(t, y, jax.tree.unflatten(tree, leaves))

        if self.adjoint == "backsolve":  # which differentiates its equation, not these numbers
            slope = jax.lax.stop_gradient(slope)
        return solve_along(
            times,
            diffrax.ODETerm(of_leaves),
            solver,
            y,
            # As a list: equinox mistakes an empty tuple among them, as that of no condition, when it solves backwards.
            leaves,
            keep_path,
            cost.attempt,
            FIRST_STEP_COST,
            dt0=dt0,
            stepsize_controller=HairerController(rtol=self.rtol, atol=self.atol),
            adjoint=ADJOINTS[self.adjoint](),
            # diffrax's record of a FSAL method: whether this is the first step, and the slope where it begins.
            solver_state=(jnp.asarray(False), slope) if cost.first else None,
            max_steps=MAX_STEPS,
        )
