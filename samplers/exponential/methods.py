"""Exponential integrators by name, with their cost and capabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import diffrax

from score_sde.samplers.exponential.deis import deis_in_ratio, deis_in_time
from score_sde.samplers.exponential.multistep import bh1, bh2, half_of_the_bend
from score_sde.samplers.exponential.single_step import DDIM, DPMSolver2, DPMSolver3, DPMSolverPP2S
from score_sde.samplers.exponential.stochastic import NoisyDDIM, NoisyMultistep2
from score_sde.samplers.exponential.unipc import unip, unipc
from score_sde.sde_lib import SDE


class Method(NamedTuple):
    """A solver in the variables of this package, and its cost in evaluations of the score model."""

    make: Callable[[SDE], diffrax.AbstractSolver]
    order: int
    evaluations: int
    """Evaluations per step, accepted or not."""
    adaptive: bool = False
    """Whether it estimates its error, so that its step size can follow a tolerance."""
    with_noise: Callable[[float], diffrax.AbstractSolver] | None = None
    """Its stochastic form for an eta in (0, 1], with the same cost and (weak) order; None if it has none."""


EXPONENTIAL: dict[str, Method] = {
    "ddim": Method(lambda sde: DDIM(), 1, 1, with_noise=NoisyDDIM),
    "dpm_solver_2": Method(lambda sde: DPMSolver2(), 2, 2, adaptive=True),
    "dpm_solver_3": Method(lambda sde: DPMSolver3(), 3, 3, adaptive=True),
    "dpm_solver_pp_2s": Method(lambda sde: DPMSolverPP2S(), 2, 2),
    # Lu et al. 2022b, Alg. 2, and the 3M of its authors' code.
    "dpm_solver_pp_2m": Method(lambda sde: unip(2, bh2), 2, 1, with_noise=NoisyMultistep2),
    "dpm_solver_pp_3m": Method(lambda sde: unip(3, half_of_the_bend), 2, 1),
    "deis_t_1": Method(lambda sde: deis_in_time(1, sde), 2, 1),
    "deis_t_2": Method(lambda sde: deis_in_time(2, sde), 3, 1),
    "deis_t_3": Method(lambda sde: deis_in_time(3, sde), 4, 1),
    "deis_rho_1": Method(lambda sde: deis_in_ratio(1), 2, 1),
    "deis_rho_2": Method(lambda sde: deis_in_ratio(2), 3, 1),
    "deis_rho_3": Method(lambda sde: deis_in_ratio(3), 4, 1),
    "unip_3": Method(lambda sde: unip(3, bh2), 3, 1),
    "unipc_2_bh1": Method(lambda sde: unipc(2, bh1), 3, 1),
    "unipc_2_bh2": Method(lambda sde: unipc(2, bh2), 3, 1),
    "unipc_3": Method(lambda sde: unipc(3, bh1), 4, 1),
}
