"""Multistep exponential integrators: a polynomial through the latest predictions, integrated over the next step.

In x_hat = x/alpha and lambda the flow is, for either prediction (Lu et al. 2022a, Eq. 3.4; 2022b, Prop. 4.1),

    x_hat_1 = x_hat_0 - integral of exp(-lambda) eps_hat,
    x_hat_1 = exp(-h) x_hat_0 + integral of exp(lambda - lambda_1) data_hat,    h = lambda_1 - lambda_0.

A method is four choices: which prediction, how many of its latest values the polynomial interpolates, in which variable, and
by which rule it is integrated. All cost one evaluation per step, and the steps may have any lengths. `deis.py` and
`unipc.py` make other choices than the DPM-Solver++ methods below.

The start is as published: the first step has one prediction and is DDIM, the next has two, and so on. This costs no extra
evaluation, but leaves an error of order 2 in the first step, whatever the method's order. Near T, where predictions hardly change,
this error is negligible up to order 3 (and 4 under VP and sub-VP); for a start at t = 0.5 it reduces the order to 2. A grid
whose first step is halved six times retains order 4, for six more evaluations, and UniPC-2 retains its order 3 from any
start at no cost: its corrector repairs the first step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from score_sde.samplers.exponential.single_step import QuadraticInRho, with_noise
from score_sde.shapes import Array, Elements, Images, Points, Scalar

Of = Callable[[Elements], Elements]
"""A function of lambda."""

# Gauss-Legendre quadrature on [0, 1]. In lambda every integrand is smooth, and unlike closed forms in powers of 1/h the
# sum remains accurate on short steps: no terms cancel except those of the polynomial itself.
_POINTS, _WEIGHTS = (
    0.5 * a for a in (np.polynomial.legendre.leggauss(16) + np.array([[1.0], [0.0]]))
)

# By default recent GPUs round the factors of float32 products, predictions among them, to TF32: an error of up to 5e-4 in every step.
PRECISION = "highest"

# The location of predictions that were never made: so far away that they do not affect the polynomial.
FAR = 1e20


class Prediction(NamedTuple):
    """What is interpolated, and how its integral over a step advances x_hat."""

    of: Callable[[Images, Scalar, Images], Images]
    """(x_hat, rho, eps_hat) -> the prediction."""
    keep: Of
    """h -> the factor of x_hat_0."""
    density: Callable[[Elements, Scalar], Elements]
    """(lambda, lambda_1) -> the factor of the prediction at lambda under the integral."""


NOISE = Prediction(
    of=lambda x, rho, eps: eps,
    keep=lambda h: jnp.ones_like(h),
    density=lambda at, end: -jnp.exp(-at),
)
DATA = Prediction(
    of=lambda x, rho, eps: x - rho * eps,
    keep=lambda h: jnp.exp(-h),
    density=lambda at, end: jnp.exp(at - end),
)


class Integral(NamedTuple):
    """The integral from `start` to `end` of the density times the polynomial with given values at `nodes`."""

    start: Scalar
    end: Scalar
    nodes: Points
    """Values of the polynomial's variable."""
    variable: Of
    density: Of

    def basis(self, at: Float[Array, "m"]) -> Float[Array, "n m"]:
        """The Lagrange basis polynomials at these lambdas."""
        n = self.nodes.shape[0]
        same = jnp.eye(n, dtype=bool)
        apart = jnp.where(same, 1.0, self.nodes[:, None] - self.nodes[None, :])
        away = self.variable(at)[None, None, :] - self.nodes[None, :, None]
        return jnp.prod(jnp.where(same[:, :, None], 1.0, away / apart[:, :, None]), axis=1)

    def masses(self) -> tuple[Points, Points]:
        """Quadrature points in lambda, and their weights, which include the density."""
        h = self.end - self.start
        points = self.start + h * jnp.asarray(_POINTS, h.dtype)
        return points, h * jnp.asarray(_WEIGHTS, h.dtype) * self.density(points)

    def made(self) -> Int[Array, ""]:
        """The number of predictions that were actually made."""
        return jnp.sum(jnp.abs(self.nodes) < FAR)


Rule = Callable[[Integral], Points]
"""Integral -> the weights of the predictions in it."""


def exact(integral: Integral) -> Points:
    """The exact integral of the polynomial, up to round-off."""
    points, masses = integral.masses()
    return jnp.matmul(integral.basis(points), masses, precision=PRECISION)


def _through_the_middle(integral: Integral, b: Scalar) -> Points:
    """For a straight line p: the density's integral times p(start), plus b times the rise of p over half of the step.

    b stands for the integral of the density, up to a factor 1 + O(h) (Zhao et al. 2023, a_1 = 1/2). With more than two
    predictions the published coefficients solve a system and are the exact ones, whatever b.
    """
    _, masses = integral.masses()
    start = integral.start[None]
    at_start = integral.basis(start)
    in_the_middle = integral.basis(0.5 * (start + integral.end[None]))
    line = at_start * jnp.sum(masses) + (in_the_middle - at_start) * b
    return jnp.where(integral.made() <= 2, line[:, 0], exact(integral))


def bh1(integral: Integral) -> Points:
    """The rule with B(h) = h of Zhao et al. 2023."""
    h = integral.end - integral.start
    return _through_the_middle(integral, h * integral.density(integral.end))


def bh2(integral: Integral) -> Points:
    """The rule with B(h) = exp(h) - 1 of Zhao et al. 2023; for data prediction with two predictions it is DPM-Solver++(2M)."""
    _, masses = integral.masses()
    return _through_the_middle(integral, jnp.sum(masses))


def half_of_the_bend(integral: Integral) -> Points:
    """DPM-Solver++(3M) as in its authors' code, where the second-difference term has half its weight.

    This makes it a method of order 2; `bh2` with three predictions has the full term and order 3. On grids with very unequal
    steps, half of the extrapolated second difference is often the better guess.
    """
    points, masses = integral.masses()
    nodes = integral.nodes
    apart = nodes[:, None] - nodes[None, :]
    second_difference = 1.0 / jnp.prod(jnp.where(apart == 0, 1.0, apart), axis=1)
    bend = jnp.sum(masses * jnp.square(points - integral.start))
    return bh2(integral) - 0.5 * bend * second_difference


class History(NamedTuple):
    """The latest predictions and where they were made, the newest first."""

    nodes: Points
    predictions: Float[Array, "n b *dims"]

    @classmethod
    def none(cls, n: int, node: Scalar, prediction: Images) -> History:
        """A history of n predictions that were never made, with the shapes and dtypes of these."""
        far = -FAR * jnp.arange(1, n + 1, dtype=jnp.result_type(node))
        return cls(far, jnp.zeros((n, *prediction.shape), prediction.dtype))

    def add(self, node: Scalar, prediction: Images) -> History:
        """The history with one more prediction, the newest."""
        return History(
            jnp.concatenate([node[None], self.nodes]),
            jnp.concatenate([prediction[None], self.predictions]),
        )

    def latest(self, n: int) -> History:
        return History(self.nodes[:n], self.predictions[:n])


class Multistep(diffrax.AbstractSolver):
    """The solver defined by the four choices, with the polynomial through `points` predictions.

    Its state is the last points - 1 predictions. lambda may also decrease, from data to noise: diffrax then passes the
    solver -lambda, which increases.
    """

    predicted: Prediction = eqx.field(static=True)
    points: int = eqx.field(static=True)
    variable: Of = eqx.field(static=True)
    rule: Rule = eqx.field(static=True)

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = QuadraticInRho

    def __check_init__(self):
        if self.points < 1:
            raise ValueError(f"a polynomial through {self.points} predictions: expected 1 or more")

    def advance(self, x: Images, start: Scalar, end: Scalar, history: History) -> Images:
        """x_hat at lambda `end` from x_hat at `start`, by the polynomial through the history."""

        def density(at: Elements) -> Elements:
            return self.predicted.density(at, end)

        integral = Integral(start, end, history.nodes, self.variable, density)
        weights = self.rule(integral).astype(x.dtype)
        moved = jnp.tensordot(weights, history.predictions, axes=1, precision=PRECISION)
        return self.predicted.keep(end - start).astype(x.dtype) * x + moved

    def begin(self, x: Images, start: Scalar) -> Any:
        """The memory before the first step, from x_hat at lambda `start`."""
        return History.none(self.points - 1, start, x)

    def move(
        self, x: Images, start: Scalar, end: Scalar, new: Images, memory: Any
    ) -> tuple[Images, Any]:
        """x_hat at `end` and the next memory, from x_hat and the new prediction at `start`."""
        history = memory.add(self.variable(start), new)
        return self.advance(x, start, end, history), history.latest(self.points - 1)

    def init(self, terms: Any, t0: Any, t1: Any, y0: Images, args: Any) -> Any:
        return self.begin(y0, jnp.sign(terms.contr(t0, t1)) * t0)

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: Images, args: Any, memory: Any, *_: Any
    ) -> Any:
        h = terms.contr(t0, t1)
        start = jnp.sign(h) * t0
        rho, eps = jnp.exp(-start), terms.vf(t0, y0, args)
        y1, memory = self.move(y0, start, start + h, self.predicted.of(y0, rho, eps), memory)
        bend = with_noise(y0, rho, h, eps) - y1
        dense = {"y0": y0, "y1": y1, "bend": bend, "h": h}
        return y1, None, dense, memory, diffrax.RESULTS.successful

    def func(self, terms: Any, t0: Any, y0: Images, args: Any) -> Images:
        """eps_hat; diffrax evaluates this only when it chooses a first step itself."""
        return terms.vf(t0, y0, args)


def itself(at: Elements) -> Elements:
    """lambda itself as the polynomial's variable."""
    return at
