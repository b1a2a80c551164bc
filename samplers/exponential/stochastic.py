"""DDIM with eta and SDE-DPM-Solver++: data prediction, with part of the noise redrawn in each step.

Over a step in which lambda increases by h, a fraction v of the noise's variance is new:

    x_hat_1 = data + rho_1 (sqrt(1 - v) (x_hat - data)/rho + sqrt(v) z),    z standard normal.

With the data predicted at the start and v = eta^2 (1 - exp(-2h)) this is DDIM (Song et al. 2021a, Eq. 12 and 16: v sigma_1^2
is eta^2 times the posterior variance); eta = 1 is ancestral sampling, and also SDE-DPM-Solver++(1) (Lu et al. 2022b). With
the data extrapolated to the middle of the step it is SDE-DPM-Solver++(2M) at eta = 1 and DPM-Solver++(2M) at 0. In between,
v is this package's choice, 1 - exp(-2 eta^2 h), which is consistent between a step and its parts: the SDE with eta^2 times
the noise of the reverse SDE. DDIM's v is consistent only at 0 and 1, which would reduce the order to 1. For eta in (0, 1],
the terms are the drift's and a Brownian path:

    MultiTerm(ODETerm of eps_hat, ControlTerm of a unit Brownian path in lambda).

z is the increment of the path over the step in units of sqrt(h), so the variance within a step is exact.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import diffrax
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.shapes import Images, Scalar


class Noisy(diffrax.AbstractItoSolver):
    """Base class of both. A subclass defines the data prediction that a step uses, and its memory."""

    eta: float

    term_structure: ClassVar = diffrax.MultiTerm[tuple[diffrax.AbstractTerm, diffrax.AbstractTerm]]
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def __check_init__(self):
        if not 0 < self.eta <= 1:
            raise ConfigError(
                f"eta={self.eta}: expected 0 < eta <= 1, from nearly no new noise to that of ancestral sampling; "
                "without noise use the deterministic solver"
            )

    @abc.abstractmethod
    def renewed(self, h: Scalar) -> Scalar:
        """v, the fraction of the noise's variance that a step of length h redraws."""

    @abc.abstractmethod
    def predicted(self, data: Images, h: Scalar, memory: Any) -> tuple[Images, Any]:
        """The data prediction that the step of length h uses, given the one at its start; and the next memory."""

    def init(self, terms: Any, t0: Any, t1: Any, y0: Images, args: Any) -> Any:
        return None

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: Images, args: Any, memory: Any, *_: Any
    ) -> Any:
        drift, brownian = terms.terms
        h, rho = t1 - t0, jnp.exp(-t0)
        data = y0 - rho * drift.vf(t0, y0, args)
        data, memory = self.predicted(data, h, memory)
        v = self.renewed(h)
        shrink = jnp.exp(-h)  # rho_1 / rho
        z = brownian.contr(t0, t1) / jnp.sqrt(h)
        y1 = data + shrink * (jnp.sqrt(1.0 - v) * (y0 - data) + rho * jnp.sqrt(v) * z)
        return y1, None, {"y0": y0, "y1": y1}, memory, diffrax.RESULTS.successful

    def func(self, terms: Any, t0: Any, y0: Images, args: Any) -> Any:
        return terms.vf(t0, y0, args)


class NoisyDDIM(Noisy):
    """DDIM with eta; at eta = 1 ancestral sampling with the posterior variance. One evaluation per step."""

    def renewed(self, h: Scalar) -> Scalar:
        return -(self.eta**2) * jnp.expm1(-2.0 * h)

    def predicted(self, data: Images, h: Scalar, memory: None) -> tuple[Images, None]:
        return data, None


class NoisyMultistep2(Noisy):
    """SDE-DPM-Solver++(2M): the data on the line through the last two predictions. One evaluation per step.

    The first step has only one prediction, which it uses as DDIM does.
    """

    def init(self, terms: Any, t0: Any, t1: Any, y0: Images, args: Any) -> Any:
        # placed infinitely far away, the missing earlier prediction has no influence
        return jnp.zeros_like(y0), jnp.full_like(t0, jnp.inf)

    def renewed(self, h: Scalar) -> Scalar:
        return -jnp.expm1(-2.0 * self.eta**2 * h)

    def predicted(self, data: Images, h: Scalar, memory: Any) -> tuple[Images, Any]:
        before, h_before = memory
        return data + 0.5 * h / h_before * (data - before), (data, h)
