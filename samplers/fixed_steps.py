"""Explicit Runge-Kutta solvers of diffrax along a given time grid, with the count of their evaluations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp

from samplers.adaptive import SOLVERS, Solution, SolverCost

# Those that estimate no error have fixed steps only.
FIXED_SOLVERS: dict[str, SolverCost] = {"euler": SolverCost(diffrax.Euler, 1, 0), **SOLVERS}


@dataclasses.dataclass(frozen=True)
class GridSolver:
    """A solver by name that steps from each of `times` to the next, however large its error."""

    name: str
    times: tuple[float, ...]

    def __post_init__(self):
        if self.name not in FIXED_SOLVERS:
            raise ValueError(
                f"solver {self.name!r} is unknown; choose one of {', '.join(FIXED_SOLVERS)} (explicit solvers)"
            )

    @property
    def nfe(self) -> int:
        """Evaluations of the vector field."""
        cost = FIXED_SOLVERS[self.name]
        return cost.attempt * (len(self.times) - 1) + cost.first

    def solve(
        self,
        vector_field: Callable[..., Any],
        y: Any,
        t_start: float,
        t_end: float,
        args: Any,
    ) -> Solution:
        """Integrate dy/dt = vector_field(t, y, args) along the grid, whose ends must be t_start and t_end."""
        if (self.times[0], self.times[-1]) != (t_start, t_end):
            raise ValueError(
                f"the grid goes from {self.times[0]} to {self.times[-1]}, not from {t_start} to {t_end}"
            )
        times = jnp.asarray(self.times)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(vector_field),
            FIXED_SOLVERS[self.name].make(),
            t0=times[0],
            t1=times[-1],
            dt0=None,
            y0=y,
            args=args,
            stepsize_controller=diffrax.StepTo(times),
            adjoint=diffrax.ForwardMode(),
            max_steps=len(self.times),
            throw=False,
        )
        y_end = jax.tree.map(lambda leaf: leaf[-1], solution.ys)
        success = solution.result == diffrax.RESULTS.successful
        return Solution(y_end, jnp.asarray(self.nfe), success)
