"""Guidance by the gradient of the likelihood through the denoiser: DPS, PiGDM, TMPD, MMPS.

These methods approximate x_0 given x_t by a Gaussian with the denoised image x_hat as mean and a covariance V, so that y given x_t is
N(A x_hat, sigma_y^2 I + A V A^T). With the Jacobian J = d x_hat / d x_t, and neglecting the derivative of V,

    grad ln p_t(y | x_t) = J^T A^T (sigma_y^2 I + A V A^T)^{-1} (y - A x_hat).

By Tweedie's second-order formula the true covariance is (sigma^2 / alpha) J; with it the result is exact for Gaussian data, where
V is constant. The methods differ in V. Their cost is stated as the number of products J^T v in addition to one evaluation.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.guidance.posterior import PosteriorScore
from score_sde.measurements.measurement import Measurement, linear, spectral
from score_sde.models.score import ScoreModel, denoise
from score_sde.sde_lib import SDE, expand
from score_sde.shapes import Array, Images, Index, Measured, PerImage

ROUNDED = 0.9
"""Fraction of sigma_y^2 that curvatures must exceed; below 1, so that rounding does not make an exact system fail."""


class Around(NamedTuple):
    """The denoiser linearized at x_t: x_hat, J^T as a function, and alpha and sigma (b, 1, ...)."""

    x_hat: Images
    transposed: Callable[[Images], Images]
    alpha: Array
    sigma: Array


class Covariance(abc.ABC):
    """A choice of V, through the product A^T (sigma_y^2 I + A V A^T)^{-1} r."""

    @property
    @abc.abstractmethod
    def products(self) -> int:
        """Number of products J^T v that `weighted` takes."""

    @abc.abstractmethod
    def weighted(self, measurement: Measurement, around: Around, r: Measured) -> Images:
        """A^T (sigma_y^2 I + A V A^T)^{-1} r (b, ...), for the residual r = y - A x_hat of each image."""


@dataclasses.dataclass(frozen=True)
class NoCovariance(Covariance):
    """V = 0, times `scale`: DPS without its step size (Chung et al. 2023)."""

    scale: float = 1.0
    products = 0

    def weighted(self, measurement: Measurement, around: Around, r: Measured) -> Images:
        weighted = self.scale / jnp.square(measurement.std) * r
        return measurement.linear.pullback(around.x_hat, weighted)


@dataclasses.dataclass(frozen=True)
class UnitPrior(Covariance):
    """V = r^2 I, r^2 = sigma^2 / (alpha^2 + sigma^2), the covariance for data N(0, I): PiGDM (Song et al. 2023)."""

    products = 0

    def weighted(self, measurement: Measurement, around: Around, r: Measured) -> Images:
        alpha, sigma = jnp.square(around.alpha), jnp.square(around.sigma)
        known = spectral(measurement, "PiGDM")
        return known.regularized(r, jnp.square(measurement.std), sigma / (alpha + sigma))


@dataclasses.dataclass(frozen=True)
class RowSums(Covariance):
    """A V A^T approximated by the diagonal matrix of its row sums: TMPD (Boys et al. 2023).

    Where measurements are negatively correlated a row sum can be negative, and at some time reach -sigma_y^2: there the weight
    is unbounded, even with an exact score.
    """

    products = 1

    def weighted(self, measurement: Measurement, around: Around, r: Measured) -> Images:
        rows = spread(measurement, around, jnp.ones_like(r))
        by_row = r / (jnp.square(measurement.std) + rows)
        return linear(measurement, "TMPD").transpose(by_row)


@dataclasses.dataclass(frozen=True)
class ConjugateGradients(Covariance):
    """V = (sigma^2 / alpha) J^T, with the linear system solved by conjugate gradients: MMPS (Rozet et al. 2024).

    A converged solution no longer changes; m measurements take at most m iterations in exact arithmetic. Since a covariance can only
    add to the noise, a direction of curvature below sigma_y^2 is an error of the network's Jacobian, and ends the iterations.

    Args:
      unrolled: unroll the iterations, which takes longer to compile; within a loop, the gradient of a
        convolution is some 26 times slower on a CPU (jax#12868).
    """

    iterations: int = 5
    unrolled: bool = False

    @property
    def products(self) -> int:
        return self.iterations

    def __post_init__(self):
        if self.iterations < 1:
            raise ConfigError(
                f"{self.iterations} iterations of conjugate gradients: expected 1 or more; for none, use DPS"
            )

    def weighted(self, measurement: Measurement, around: Around, r: Measured) -> Images:
        def system(v: Measured) -> Measured:
            return jnp.square(measurement.std) * v + spread(measurement, around, v)

        a = linear(measurement, "MMPS")
        least = ROUNDED * jnp.square(measurement.std)
        return a.transpose(solve(system, r, self.iterations, self.unrolled, least))


def spread(measurement: Measurement, around: Around, v: Measured) -> Measured:
    """A V A^T v with V = (sigma^2 / alpha) J^T, for vectors v of the shape of measurements (b, ...), by one product with J^T.

    Raises:
      ConfigError: the measurement is not linear.
    """
    a = linear(measurement, "A V A^T")
    back = around.transposed(a.transpose(v))
    return a(jnp.square(around.sigma) / around.alpha * back)


def solve(
    system: Callable[[Measured], Measured],
    b: Measured,
    iterations: int,
    unrolled: bool = False,
    least: Array | float = 0.0,
) -> Measured:
    """Solve system(v) = b by conjugate gradients, independently for each image (Hestenes and Stiefel 1952).

    `system` must be linear, symmetric and positive definite for each image. A solution that has converged to rounding no longer changes.
    The iterations of an image end before the first direction of curvature `least` or less, a lower bound of the eigenvalues
    (Steihaug 1983): past a direction without positive curvature, which a network may produce, the iterates would grow without bound.
    """

    def dot(u: Measured, v: Measured) -> Array:
        return expand(jnp.sum((u * v).reshape(len(u), -1), axis=1), u)

    enough = jnp.square(jnp.finfo(b.dtype).eps) * dot(b, b)

    def iterate(_: Index, state: Any) -> Any:
        v, r, direction, size = state
        along = system(direction)
        curvature = dot(direction, along)
        goes_on = (size > enough) & (curvature > least * dot(direction, direction))
        step = jnp.where(goes_on, size, 0.0) / jnp.where(goes_on, curvature, 1.0)
        v, r = v + step * direction, r - step * along
        smaller = dot(r, r)
        again = jnp.where(goes_on, smaller / jnp.where(goes_on, size, 1.0), 0.0)
        # An image that has ended keeps its direction, so that it ends again in the next iteration.
        return v, r, jnp.where(goes_on, r + again * direction, direction), smaller

    start = jnp.zeros_like(b), b, b, dot(b, b)
    return jax.lax.fori_loop(0, iterations, iterate, start, unroll=unrolled or None)[0]


@flax.struct.dataclass
class LikelihoodScore(PosteriorScore):
    """The model's score plus the gradient above. Cost: one evaluation and `jacobian_products` products."""

    covariance: Covariance = flax.struct.field(pytree_node=False, default=NoCovariance())

    @property
    def jacobian_products(self) -> int:
        return 1 + self.covariance.products

    def __call__(self, x: Images, t: PerImage) -> Images:
        y = self.measured()

        def mean(x: Images) -> tuple[Images, Images]:
            score = self.model(x, t)
            return denoise(self.sde, score, x, t), score

        x_hat, pullback, score = jax.vjp(mean, x, has_aux=True)
        around = Around(
            x_hat,
            lambda v: pullback(v)[0],
            expand(self.sde.alpha(t), x),
            expand(self.sde.sigma(t), x),
        )
        r = self.measurement.residual(y, x_hat)
        weighted = self.covariance.weighted(self.measurement, around, r)
        return score + around.transposed(weighted)


def dps(
    model: ScoreModel, measurement: Measurement, sde: SDE, scale: float = 1.0
) -> LikelihoodScore:
    """DPS, with the gradient of the likelihood itself times `scale`; A may be nonlinear.

    The published method divides a step size that does not depend on the sampler's times by |y - A x_hat|, which is not the score of a process.

    Raises:
      ConfigError: sigma_y = 0, for which the gradient is infinite.
    """
    if not measurement.std > 0:
        raise ConfigError(
            f"DPS with sigma_y={measurement.std}: its gradient is divided by sigma_y^2; give a positive one, or use PiGDM or DDNM"
        )
    return LikelihoodScore(model, measurement, sde, covariance=NoCovariance(scale))


def pigdm(model: ScoreModel, measurement: Measurement, sde: SDE) -> LikelihoodScore:
    """PiGDM (`UnitPrior`).

    Raises:
      ConfigError: the singular values of A are not known.
    """
    spectral(measurement, "PiGDM")
    return LikelihoodScore(model, measurement, sde, covariance=UnitPrior())


def tmpd(model: ScoreModel, measurement: Measurement, sde: SDE) -> LikelihoodScore:
    """TMPD (`RowSums`).

    Raises:
      ConfigError: A is not linear.
    """
    linear(measurement, "TMPD")
    return LikelihoodScore(model, measurement, sde, covariance=RowSums())


def mmps(
    model: ScoreModel,
    measurement: Measurement,
    sde: SDE,
    iterations: int = 5,
    unrolled: bool = False,
) -> LikelihoodScore:
    """MMPS (`ConjugateGradients`), with its iterations in a loop or `unrolled`.

    Raises:
      ConfigError: fewer than one iteration, or A is not linear.
    """
    linear(measurement, "MMPS")
    solver = ConjugateGradients(iterations, unrolled)
    return LikelihoodScore(model, measurement, sde, covariance=solver)
