"""DEIS: noise predictions extrapolated by a polynomial in t or in rho (Zhang and Chen 2023, Eq. 11-15).

Order r interpolates r + 1 predictions and converges with order r + 1; order 0 is DDIM in both variables. The authors
precompute the coefficients for one grid; here each step computes its own, for any process and any grid.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from score_sde.samplers.exponential.multistep import NOISE, Multistep, exact
from score_sde.sde_lib import SDE
from score_sde.shapes import Elements


@dataclasses.dataclass(frozen=True)
class Time:
    """t as a function of lambda, for a process."""

    sde: SDE

    def __call__(self, at: Elements) -> Elements:
        return self.sde.time_of_log_snr(2.0 * at)


def ratio(at: Elements) -> Elements:
    """rho = sigma/alpha as a function of lambda."""
    return jnp.exp(-at)


def deis_in_time(order: int, sde: SDE) -> Multistep:
    """tAB-DEIS, of order 0 and up."""
    return Multistep(NOISE, order + 1, Time(sde), exact)


def deis_in_ratio(order: int) -> Multistep:
    """rhoAB-DEIS, of order 0 and up: Adams-Bashforth in rho, for any step sizes."""
    return Multistep(NOISE, order + 1, ratio, exact)
