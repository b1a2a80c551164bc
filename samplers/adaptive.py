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
    """An explicit solver and its cost in evaluations of the vector field."""

    make: Callable[[], diffrax.AbstractSolver]
    attempt: int
    """Evaluations per attempted step, accepted or not."""
    first: int
    """Additional evaluations per solve: 1 for FSAL methods, whose first step has no last stage of a previous step to reuse."""


class DormandPrince(diffrax.Dopri5):
    """diffrax's Dopri5 with the error estimate of Dormand and Prince (1980), as in SciPy's RK45.

    diffrax uses Shampine's estimate, the same combination of stages multiplied by two thirds.
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
            "network, many evaluations per pixel, and the flow is not stiff enough for this to pay off (in sigma/alpha it is not stiff at all: "
            f"sampling.ode.variable='ratio'); choose one of {', '.join(table)} ({words})"
        )
    choose("solver", name, table)


# First step size, as a fraction of the whole interval, of samplers that cannot estimate one
FIRST_STEP = 0.01
FIRST_STEP_COST = 2  # evaluations in `first_step`, including the first stage of an FSAL method
MAX_STEPS = 100_000  # a solve that needs more is reported as failed


ADJOINTS: dict[str, Callable[[], diffrax.AbstractAdjoint]] = {
    "forward": diffrax.ForwardMode,
    "recursive_checkpoint": diffrax.RecursiveCheckpointAdjoint,
    "backsolve": diffrax.BacksolveAdjoint,
}


class Adaptive(NamedTuple):
    """Tolerances of adaptive steps: one step size per batch or, with `each_image`, per image, which makes images independent."""

    rtol: float = 0.05
    atol: float = 2.0 / 256.0
    """One of 256 levels, for images in [-1, 1] (Jolicoeur-Martineau et al. 2021, Sec. 4)."""
    each_image: bool = False

    def check(self, solver: str, able: Collection[str]) -> None:
        """Raise ConfigError unless both tolerances are positive and the solver is one of those that estimate their error."""
        if solver not in able:
            raise ConfigError(
                f"{solver!r} estimates no error, which adaptive steps need: use the steps of a grid, or choose one of "
                f"{', '.join(able)}"
            )
        if not (self.rtol > 0 and self.atol > 0):
            raise ConfigError(f"rtol={self.rtol}, atol={self.atol}: tolerances must be positive")


class Solver(Protocol):
    """Integrates dy/dt = field(t, y, args) along increasing or decreasing times (n + 1,).

    An adaptive solver chooses its own steps between the first and the last time; `keep_path` also returns the states at all
    of the times.
    """

    def solve(
        self, field: Field, y: Any, times: Points, args: Any, keep_path: bool = False
    ) -> Solution: ...


class Solution(NamedTuple):
    """The final state, the number of evaluations of the vector field, and whether the solve succeeded."""

    y: Any
    nfe: Array
    success: Array
    path: Any = None
    """States at all times, leaves (n + 1, ...); None unless requested."""


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
    """Solve with diffrax from the first time to the last, in steps from each to the next unless `steps` override this.

    Counts `each` evaluations per step, including rejected ones, plus `once` for the whole solve.
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
    """Arguments of `solve_along` for steps chosen by a controller, in a solve of this length that cannot estimate its first step."""
    return {"dt0": FIRST_STEP * length, "max_steps": MAX_STEPS, "stepsize_controller": controller}


@dataclasses.dataclass(frozen=True)
class AdaptiveSolver:
    """A solver by name with its tolerances. The whole state, and hence the whole batch, shares one step size.

    `adjoint` selects how a solve is differentiated:
      forward: by jax.jvp only; nothing is stored. jax.grad fails with JAX's error "Reverse-mode differentiation does not
        work for lax.while_loop": choose another adjoint.
      recursive_checkpoint: by jax.grad through the solver's own steps, some of which are stored and the others recomputed
        in the backward pass. The exact gradient of the computed result.
      backsolve: by jax.grad, solving the adjoint equation backwards (Chen et al. 2018, Algorithm 1). It stores only the
        final state, is accurate to a few tolerances, and differentiates in y and args: the field must close over nothing.
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
        """Cost: two evaluations to choose the first step size, and the solver's evaluations per attempted step."""
        cost, solver = SOLVERS[self.name], SOLVERS[self.name].make()
        times = jnp.asarray(times)
        order = solver.error_order(diffrax.ODETerm(field))
        dt0, slope = first_step(field, y, times[0], times[-1], args, order, self.rtol, self.atol)
        leaves, tree = jax.tree.flatten(args)

        def of_leaves(t: Any, y: Any, leaves: Any) -> Any:
            return field(t, y, jax.tree.unflatten(tree, leaves))

        if self.adjoint == "backsolve":  # it differentiates the equation, not these values
            slope = jax.lax.stop_gradient(slope)
        return solve_along(
            times,
            diffrax.ODETerm(of_leaves),
            solver,
            y,
            # As a list: in the backward solve equinox mishandles an empty tuple among them, such as that of no condition.
            leaves,
            keep_path,
            cost.attempt,
            FIRST_STEP_COST,
            dt0=dt0,
            stepsize_controller=HairerController(rtol=self.rtol, atol=self.atol),
            adjoint=ADJOINTS[self.adjoint](),
            # diffrax's state of an FSAL method: whether this is the first step, and the slope at its start.
            solver_state=(jnp.asarray(False), slope) if cost.first else None,
            max_steps=MAX_STEPS,
        )
