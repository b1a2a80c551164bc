"""DDIM, DPM-Solver and DPM-Solver++(2S): exponential Runge-Kutta rules, without memory of earlier steps.

A rule approximates x_hat(lambda + h) = x_hat - rho integral_0^h exp(-tau) eps_hat(lambda + tau) dtau, rho = exp(-lambda) (Lu
et al. 2022a, Eq. 3.4, divided by alpha), from predictions within the step.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import jax.numpy as jnp

from score_sde.shapes import Images, Scalar

Predict = Callable[[float, Images], Images]
"""(fraction of the step, x_hat there) -> eps_hat: one evaluation of the network."""


def with_noise(
    x: Images, rho: Scalar, h: Scalar, eps: Images, slope: Images | float = 0.0
) -> Images:
    """x_hat after lambda has increased by h; exact if eps_hat is eps + slope tau along the step."""
    constant = -jnp.expm1(-h)  # integral of exp(-tau)
    linear = constant - h * jnp.exp(-h)  # integral of tau exp(-tau)
    return x - rho * (constant * eps + linear * slope)


def with_data(x: Images, h: Scalar, data: Images) -> Images:
    """x_hat after lambda has increased by h; exact if the predicted data are constant along the step."""
    return data + jnp.exp(-h) * (x - data)


class QuadraticInRho(diffrax.LocalLinearInterpolation):
    """x_hat within a step: the quadratic in rho through both ends, with slope eps_hat at the first.

    Its error is of third order in the step, like DPM-Solver-2's own; for DDIM it is the solution itself.
    """

    bend: Images
    """The tangent at the first end, evaluated at the second, minus the state there."""
    h: Scalar
    """Increase of lambda over the step, negative on the way back to noise."""

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> Images:
        if t1 is not None:
            return self.evaluate(t1) - self.evaluate(t0)
        tau = self.h * (t0 - self.t0) / (self.t1 - self.t0)
        share = jnp.expm1(-tau) / jnp.expm1(-self.h)
        return (1.0 - share) * self.y0 + share * self.y1 + share * (1.0 - share) * self.bend


class SingleStep(diffrax.AbstractSolver):
    """Base class of the rules: diffrax's step, in their variables. A subclass defines its order and its rule.

    lambda may also decrease, from data to noise: diffrax then passes the solver -lambda, which increases, and only the
    control of the term tells the direction.
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = QuadraticInRho

    @abc.abstractmethod
    def rule(
        self, predict: Predict, x: Images, rho: Scalar, h: Scalar, eps: Images
    ) -> tuple[Images, Images | None]:
        """x_hat at lambda + h and an estimate of its error, from x_hat and eps_hat at lambda."""

    def init(self, terms: Any, t0: Any, t1: Any, y0: Images, args: Any) -> None:
        return None

    def step(self, terms: Any, t0: Any, t1: Any, y0: Images, args: Any, *_: Any) -> Any:
        h = terms.contr(t0, t1)
        rho = jnp.exp(-jnp.sign(h) * t0)

        def predict(share: float, x: Images) -> Images:
            return terms.vf(t0 + share * (t1 - t0), x, args)

        eps = predict(0.0, y0)
        y1, error = self.rule(predict, y0, rho, h, eps)
        bend = with_noise(y0, rho, h, eps) - y1
        dense = {"y0": y0, "y1": y1, "bend": bend, "h": h}
        return y1, error, dense, None, diffrax.RESULTS.successful

    def func(self, terms: Any, t0: Any, y0: Images, args: Any) -> Images:
        """dx_hat/dlambda for increasing lambda, from which diffrax chooses a first step."""
        return -jnp.exp(-t0) * terms.vf(t0, y0, args)


class DDIM(SingleStep):
    """The noise predicted at the start is used for the whole step: x_hat + (rho_1 - rho_0) eps_hat. Order 1, one evaluation.

    DDIM with eta = 0 (Song et al. 2021a, Eq. 13) is the same as DPM-Solver-1 (Lu et al. 2022a, Eq. 3.7), DPM-Solver++(1),
    DEIS of order 0 and Euler's method in rho.
    """

    def order(self, terms: Any) -> int:
        return 1

    def rule(
        self, predict: Predict, x: Images, rho: Scalar, h: Scalar, eps: Images
    ) -> tuple[Images, None]:
        return with_noise(x, rho, h, eps), None


class DPMSolver2(SingleStep, diffrax.AbstractAdaptiveSolver):
    """The noise predicted halfway in lambda is used for the whole step (Lu et al. 2022a, Alg. 1). Order 2, two evaluations.

    With DDIM as the embedded method it is DPM-Solver-12 of their App. C.
    """

    def order(self, terms: Any) -> int:
        return 2

    def rule(
        self, predict: Predict, x: Images, rho: Scalar, h: Scalar, eps: Images
    ) -> tuple[Images, Images]:
        middle = predict(0.5, with_noise(x, rho, 0.5 * h, eps))
        end = with_noise(x, rho, h, middle)
        return end, end - with_noise(x, rho, h, eps)


class DPMSolver3(SingleStep, diffrax.AbstractAdaptiveSolver):
    """The noise on straight lines in lambda through the first and a later prediction (Lu et al. 2022a, Alg. 2, r = 1/3, 2/3).

    Order 3, three evaluations. With DPM-Solver-2 of r = 1/3 as the embedded method it is DPM-Solver-23 of their App. C.
    """

    def order(self, terms: Any) -> int:
        return 3

    def rule(
        self, predict: Predict, x: Images, rho: Scalar, h: Scalar, eps: Images
    ) -> tuple[Images, Images]:
        third, two_thirds = h / 3.0, 2.0 * h / 3.0
        slope = (predict(1.0 / 3.0, with_noise(x, rho, third, eps)) - eps) / third
        later = predict(2.0 / 3.0, with_noise(x, rho, two_thirds, eps, slope))
        end = with_noise(x, rho, h, eps, (later - eps) / two_thirds)
        # their second-order rule: the line's value at the middle of the step, held constant
        return end, end - with_noise(x, rho, h, eps + 0.5 * h * slope)


class DPMSolverPP2S(SingleStep):
    """The data predicted halfway in lambda are used for the whole step (Lu et al. 2022b, Alg. 1 with r = 1/2).

    Order 2, two evaluations. Its difference from DDIM could serve as an error estimate, but would miss the error of long
    steps from noise, where both predict the mean of the data.
    """

    def order(self, terms: Any) -> int:
        return 2

    def rule(
        self, predict: Predict, x: Images, rho: Scalar, h: Scalar, eps: Images
    ) -> tuple[Images, None]:
        middle = with_noise(x, rho, 0.5 * h, eps)
        data = middle - rho * jnp.exp(-0.5 * h) * predict(0.5, middle)
        return with_data(x, h, data), None
