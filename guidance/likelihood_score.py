"""The likelihood's gradient through the denoiser: DPS, PiGDM, TMPD, MMPS.

Of x_0 given x_t they know the mean x_hat and take the law for Gaussian with a covariance V, so that y given x_t is
N(A x_hat, sigma_y^2 I + A V A^T). With the Jacobian J = d x_hat / d x_t, and V's own derivative neglected,

    grad ln p_t(y | x_t) = J^T A^T (sigma_y^2 I + A V A^T)^{-1} (y - A x_hat).

By Tweedie's second formula the covariance is (sigma^2 / alpha) J: then all is exact for Gaussian data, where it is constant.
The methods differ in the V they put there; below, what they cost in products J^T v beside one evaluation.
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
"""Of sigma_y^2: what rounding may leave of the noise alone, so that no exact system is taken for a wrong one."""


class Around(NamedTuple):
    """What is known of x_0 around x_hat at one x_t: J^T as a function, and alpha and sigma (b, 1, ...)."""

    x_hat: Images
    transposed: Callable[[Images], Images]
    alpha: Array
    sigma: Array


class Covariance(abc.ABC):
    """V, as A^T (sigma_y^2 I + A V A^T)^{-1} r."""

    @property
    @abc.abstractmethod
    def products(self) -> int:
        """J^T v that it takes."""

    @abc.abstractmethod
    def weighted(self, measurement: Measurement, around: Around, r: Measured) -> Images:
        """A^T (sigma_y^2 I + A V A^T)^{-1} r (b, ...), of the residual r = y - A x_hat of each image; `products` of J^T with a vector."""


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
    """A V A^T as a diagonal, the sums of its rows: TMPD (Boys et al. 2023).

    Where measurements correlate negatively, a row of a covariance can have a sum below 0, at one time that of -sigma_y^2: near it the
    weight has no bound, of an exact score too.
    """

    products = 1

    def weighted(self, measurement: Measurement, around: Around, r: Measured) -> Images:
        rows = spread(measurement, around, jnp.ones_like(r))
        by_row = r / (jnp.square(measurement.std) + rows)
        return linear(measurement, "TMPD").transpose(by_row)


@dataclasses.dataclass(frozen=True)
class ConjugateGradients(Covariance):
    """V = (sigma^2 / alpha) J^T, the system solved in so many iterations: MMPS (Rozet et al. 2024).

    A converged solution stays as it is; of m numbers it takes at most m iterations in exact arithmetic. A covariance adds to the
    noise: a direction in which the system is less than sigma_y^2 is a mistake of the network's Jacobian, and ends them.

    Args:
      unrolled: written out iteration by iteration, which compiles longer; otherwise a loop, in which the gradient of a
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
                f"{self.iterations} iterations of conjugate gradients: expected 1 or more; none is DPS"
            )

    def weighted(self, measurement: Measurement, around: Around, r: Measured) -> Images:
        def system(v: Measured) -> Measured:
            return jnp.square(measurement.std) * v + spread(measurement, around, v)

        a = linear(measurement, "MMPS")
        least = ROUNDED * jnp.square(measurement.std)
        return a.transpose(solve(system, r, self.iterations, self.unrolled, least))


def spread(measurement: Measurement, around: Around, v: Measured) -> Measured:
    """A V A^T v, V = (sigma^2 / alpha) J^T, of vectors v shaped as measurements (b, ...); one product with J^T.

    Raises:
      ConfigError: a measurement that is not linear.
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
    """v with system(v) = b by conjugate gradients, image by image (Hestenes and Stiefel 1952).

    `system` is linear, symmetric and positive definite, of each image apart. What has converged to rounding is kept. Of an image whose
    system shows a direction of curvature `least` or less, of which eigenvalues have more, the steps end before it (Steihaug 1983):
    past one of no positive curvature, as a network may have, they would grow without bound.
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
        # What has ended keeps its direction, by which it ends again.
        return v, r, jnp.where(goes_on, r + again * direction, direction), smaller

    start = jnp.zeros_like(b), b, b, dot(b, b)
    return jax.lax.fori_loop(0, iterations, iterate, start, unroll=unrolled or None)[0]


@flax.struct.dataclass
class LikelihoodScore(PosteriorScore):
    """The model's score and the gradient above. Cost: an evaluation, and `jacobian_products`."""

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
    """DPS with the likelihood's own gradient, times `scale`; A may be other than linear.

    The published step is a length for each step of a sampler, whatever its times, over |y - A x_hat|: no score of a process.

    Raises:
      ConfigError: sigma_y = 0, where the gradient is infinite.
    """
    if not measurement.std > 0:
        raise ConfigError(
            f"DPS with sigma_y={measurement.std}: its gradient is divided by sigma_y^2; give a positive one, or take PiGDM or DDNM"
        )
    return LikelihoodScore(model, measurement, sde, covariance=NoCovariance(scale))


def pigdm(model: ScoreModel, measurement: Measurement, sde: SDE) -> LikelihoodScore:
    """PiGDM.

    Raises:
      ConfigError: A's singular values are not known.
    """
    spectral(measurement, "PiGDM")
    return LikelihoodScore(model, measurement, sde, covariance=UnitPrior())


def tmpd(model: ScoreModel, measurement: Measurement, sde: SDE) -> LikelihoodScore:
    """TMPD.

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
    """MMPS, its iterations in a loop or `unrolled`, as ConjugateGradients says.

    Raises:
      ConfigError: less than one iteration, or A is not linear.
    """
    linear(measurement, "MMPS")
    solver = ConjugateGradients(iterations, unrolled)
    return LikelihoodScore(model, measurement, sde, covariance=solver)
