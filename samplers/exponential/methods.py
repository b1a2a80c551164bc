"""Exponential integrators by name, with what they cost and what they can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import diffrax

from samplers.exponential.single_step import DDIM, DPMSolver2, DPMSolver3, DPMSolverPP2S
from samplers.exponential.stochastic import NoisyDDIM
from sde_lib import SDE


class Method(NamedTuple):
    """A solver in the variables of this package, and its cost in evaluations of the score model."""

    make: Callable[[SDE], diffrax.AbstractSolver]
    order: int
    evaluations: int
    """For each step, accepted or not."""
    start_up: int = 0
    """Beyond that, once."""
    adaptive: bool = False
    """It estimates its error, so its step size can follow a tolerance."""
    with_noise: Callable[[float], diffrax.AbstractSolver] | None = None
    """Its stochastic form of a given eta in (0, 1], at the same cost and of the same (weak) order."""


EXPONENTIAL: dict[str, Method] = {
    "ddim": Method(lambda sde: DDIM(), 1, 1, with_noise=NoisyDDIM),
    "dpm_solver_2": Method(lambda sde: DPMSolver2(), 2, 2, adaptive=True),
    "dpm_solver_3": Method(lambda sde: DPMSolver3(), 3, 3, adaptive=True),
    "dpm_solver_pp_2s": Method(lambda sde: DPMSolverPP2S(), 2, 2),
}
