"""Explicit Runge-Kutta solvers of diffrax along a given time grid, with their number of evaluations."""

from __future__ import annotations

import dataclasses
from typing import Any

import diffrax
import jax.numpy as jnp

from score_sde.samplers.adaptive import SOLVERS, Solution, SolverCost, check_solver, solve_along
from score_sde.samplers.step_size import Field
from score_sde.shapes import Points

# Solvers without an error estimate, or with a poor one, take fixed steps only. The second and third have order 2 at one
# evaluation per step, and are the first to become unstable where steps are long.
FIXED_SOLVERS: dict[str, SolverCost] = {
    "euler": SolverCost(diffrax.Euler, 1, 0),
    "leapfrog_midpoint": SolverCost(diffrax.LeapfrogMidpoint, 1, 0),
    "reversible_heun": SolverCost(diffrax.ReversibleHeun, 1, 1),
    **SOLVERS,
}


@dataclasses.dataclass(frozen=True)
class GridSolver:
    """A solver by name that steps from each time to the next, whatever its error."""

    name: str

    def __post_init__(self):
        check_solver(self.name, FIXED_SOLVERS, "explicit solvers")

    def solve(
        self, field: Field, y: Any, times: Points, args: Any, keep_path: bool = False
    ) -> Solution:
        cost, times = FIXED_SOLVERS[self.name], jnp.asarray(times)
        term, solver = diffrax.ODETerm(field), cost.make()
        return solve_along(times, term, solver, y, args, keep_path, cost.attempt, cost.first)
