"""Score models in closed form, against which any result of a sampler or a likelihood can be checked.

For data with density p_0, the marginal at t is p_0 scaled by alpha and blurred by sigma. Its score and log-density have
closed forms for a Gaussian, a Gaussian mixture, a uniform law and a finite data set. All models take images of any shape
(b, ...), which they flatten, and work in float32 or float64 according to their parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Float

from score_sde.models.covariances import check_weights, decomposed
from score_sde.models.normal_interval import log_mass, log_mass_slope
from score_sde.models.score import WithoutCondition, predicted_noise
from score_sde.sde_lib import SDE, expand
from score_sde.sde_lib.base import real_numbers
from score_sde.shapes import Array, Images, PerImage, Scalar

# By default recent GPUs round the factors of float32 products to TF32, with 10 bits. At small sigma the score is a difference of nearly
# equal numbers, and that rounding would make it wrong by 10 %.
PRECISION = "highest"


def _flat(x: Images) -> Float[Array, "b d"]:
    return x.reshape(x.shape[0], -1)


def _product(a: Float[Array, "b k"], b: Float[Array, "k d"]) -> Float[Array, "b d"]:
    return jnp.matmul(a, b, precision=PRECISION)


class KnownImage(WithoutCondition):
    """Base class that derives the probability-flow velocity from E[x_0 | x_t] and the score, both finite where alpha = 0."""

    sde: SDE

    def __call__(self, x: Images, t: PerImage) -> Images:
        raise NotImplementedError

    def denoised(self, x: Images, t: PerImage) -> Images:
        """E[x_0 | x_t], computed without dividing by alpha."""
        raise NotImplementedError

    def velocity(self, x: Images, t: PerImage) -> Images:
        noise = predicted_noise(self.sde, self(x, t), t)
        return self.sde.velocity(self.denoised(x, t), noise, t)


@flax.struct.dataclass
class GaussianScore(KnownImage):
    """The score of data N(mean, U diag(eigenvalues) U^T), with any covariance.

    The marginal at t is N(alpha mean, alpha^2 Sigma + sigma^2 I), which shares the eigenvectors; its score
    is -C_t^{-1} (x - alpha mean), computed in the eigenbasis so that no matrix is inverted.
    """

    mean: Float[Array, "d"]
    eigenvalues: Float[Array, "d"]
    eigenvectors: Float[Array, "d d"]  # columns
    sde: SDE = flax.struct.field(pytree_node=False)

    @classmethod
    def create(cls, mean: Float[Array, "d"], covariance: Float[Array, "d d"], sde: SDE) -> Self:
        """Build the model from a mean and a symmetric positive semi-definite covariance.

        Raises:
          ConfigError: see `decomposed`.
        """
        return cls(*decomposed(mean, covariance), sde)

    def _coordinates(
        self, x: Images, t: PerImage
    ) -> tuple[Float[Array, "b d"], Float[Array, "b d"]]:
        """Return x - alpha mean in the eigenbasis, and the variances of the marginal there."""
        alpha, sigma = self.sde.alpha(t)[:, None], self.sde.sigma(t)[:, None]
        centred = _product(_flat(x) - alpha * self.mean[None], self.eigenvectors)
        return centred, alpha**2 * self.eigenvalues[None] + sigma**2

    def __call__(self, x: Images, t: PerImage) -> Images:
        centred, variances = self._coordinates(x, t)
        return _product(-(centred / variances), self.eigenvectors.T).reshape(x.shape)

    def denoised(self, x: Images, t: PerImage) -> Images:
        centred, variances = self._coordinates(x, t)
        kept = self.sde.alpha(t)[:, None] * self.eigenvalues[None] / variances
        return (self.mean[None] + _product(kept * centred, self.eigenvectors.T)).reshape(x.shape)

    def log_density(self, x: Images, t: PerImage) -> PerImage:
        """ln p_t(x) in nats."""
        centred, variances = self._coordinates(x, t)
        return -0.5 * jnp.sum(centred**2 / variances + jnp.log(2.0 * jnp.pi * variances), axis=1)


@flax.struct.dataclass
class MixtureScore(KnownImage):
    """The score of data sum_k w_k N(mean_k, Sigma_k), with any covariances.

    Components are `GaussianScore`s stacked along a leading axis. The score of the mixture is the mean of theirs under the
    posterior of the components, computed by log-sum-exp.
    """

    weights: Float[Array, "k"]  # sum to 1
    components: GaussianScore  # leaves with a leading axis k

    @classmethod
    def create(
        cls,
        weights: Float[Array, "k"],
        means: Float[Array, "k d"],
        covariances: Float[Array, "k d d"],
        sde: SDE,
    ) -> Self:
        """Build the model from the weights, means and covariances of the components.

        Raises:
          ConfigError: weights that are not probabilities, or see `decomposed`.
        """
        weights, components = (
            real_numbers(weights),
            GaussianScore(*decomposed(means, covariances), sde),
        )
        check_weights(weights, len(components.mean))
        return cls(weights, components)

    @property
    def sde(self) -> SDE:  # type: ignore[override]
        return self.components.sde

    def _log_joint(self, x: Images, t: PerImage) -> Float[Array, "k b"]:
        """ln w_k N(x; component k at t)."""
        log_densities = jax.vmap(lambda one: one.log_density(x, t))(self.components)
        return jnp.log(self.weights)[:, None] + log_densities

    def log_posterior(self, x: Images, t: PerImage) -> Float[Array, "k b"]:
        """ln p(component | x_t) in nats."""
        return jax.nn.log_softmax(self._log_joint(x, t), axis=0)

    def __call__(self, x: Images, t: PerImage) -> Images:
        return self._mean(x, t, lambda one: one(x, t))

    def denoised(self, x: Images, t: PerImage) -> Images:
        return self._mean(x, t, lambda one: one.denoised(x, t))

    def _mean(self, x: Images, t: PerImage, of: Callable[[GaussianScore], Images]) -> Images:
        """Mean of `of(component)` over the components, under their posterior."""
        posterior = jax.nn.softmax(self._log_joint(x, t), axis=0)
        found = jax.vmap(of)(self.components)
        return jnp.einsum("kb,kb...->b...", posterior, found, precision=PRECISION)

    def log_density(self, x: Images, t: PerImage) -> PerImage:
        """ln p_t(x) in nats."""
        return jax.nn.logsumexp(self._log_joint(x, t), axis=0)


@flax.struct.dataclass
class ProductMixtureScore(KnownImage):
    """The score of images whose d coordinates are independent draws of one 1-D Gaussian mixture.

    Because of the product everything is exact in any dimension: the density, the score, and the map of the probability
    flow, which moves each coordinate along its own quantiles.
    """

    weights: Float[Array, "k"]  # sum to 1
    means: Float[Array, "k"]
    variances: Float[Array, "k"]
    sde: SDE = flax.struct.field(pytree_node=False)

    def _components(self, x: Images, t: PerImage) -> tuple[Array, Array, Array]:
        """Log joint densities ln w_k N_k(x), deviations and variances, each broadcast to x.shape + (k,)."""
        alpha = expand(self.sde.alpha(t), x)[..., None]
        sigma = expand(self.sde.sigma(t), x)[..., None]
        shape = (1,) * x.ndim + (-1,)
        variances = alpha**2 * self.variances.reshape(shape) + sigma**2
        deviations = x[..., None] - alpha * self.means.reshape(shape)
        log_joint = jnp.log(self.weights.reshape(shape)) - 0.5 * (
            jnp.log(2.0 * jnp.pi * variances) + deviations**2 / variances
        )
        return log_joint, deviations, variances

    def __call__(self, x: Images, t: PerImage) -> Images:
        log_joint, deviations, variances = self._components(x, t)
        return -jnp.sum(jax.nn.softmax(log_joint, axis=-1) * deviations / variances, axis=-1)

    def denoised(self, x: Images, t: PerImage) -> Images:
        log_joint, deviations, variances = self._components(x, t)
        alpha = expand(self.sde.alpha(t), x)[..., None]
        shape = (1,) * x.ndim + (-1,)
        images = (
            self.means.reshape(shape)
            + alpha * self.variances.reshape(shape) * deviations / variances
        )
        return jnp.sum(jax.nn.softmax(log_joint, axis=-1) * images, axis=-1)

    def log_density(self, x: Images, t: PerImage) -> PerImage:
        """ln p_t(x) in nats."""
        log_joint, _, _ = self._components(x, t)
        return jnp.sum(_flat(jax.nn.logsumexp(log_joint, axis=-1)), axis=1)

    def cdf(self, x: Images, t: PerImage) -> Images:
        """The cumulative distribution function of one coordinate at times t, evaluated elementwise at x."""
        _, deviations, variances = self._components(x, t)
        shape = (1,) * x.ndim + (-1,)
        parts = jax.scipy.stats.norm.cdf(deviations / jnp.sqrt(variances))
        return jnp.sum(self.weights.reshape(shape) * parts, axis=-1)


@flax.struct.dataclass
class UniformScore(WithoutCondition):
    """The score of images whose coordinates are independent and uniform on [low, high].

    Dequantized noise images have this law, and its likelihood is known: log2 of the width per dimension, except for what
    the blur at eps carries over the edges. The density of a coordinate at t is the mass that a normal of variance
    sigma^2 around x gives to [alpha low, alpha high], divided by the length of that interval.
    """

    low: Scalar
    high: Scalar
    sde: SDE = flax.struct.field(pytree_node=False)

    def _interval(self, x: Images, t: PerImage) -> tuple[Images, Images]:
        """The offset of x from the middle of the interval, and the interval's half-width, in units of sigma."""
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        middle, half = 0.5 * (self.high + self.low), 0.5 * (self.high - self.low)
        return (x - alpha * middle) / sigma, jnp.broadcast_to(alpha * half / sigma, x.shape)

    def __call__(self, x: Images, t: PerImage) -> Images:
        return log_mass_slope(*self._interval(x, t)) / expand(self.sde.sigma(t), x)

    def log_density(self, x: Images, t: PerImage) -> PerImage:
        """ln p_t(x) in nats."""
        width = expand(self.sde.alpha(t), x) * (self.high - self.low)
        return jnp.sum(_flat(log_mass(*self._interval(x, t)) - jnp.log(width)), axis=1)


@flax.struct.dataclass
class FiniteDataScore(KnownImage):
    """The score of a finite data set: the ideal memorising model.

    The denoised image is the mean of the points, weighted by a softmax of ln w - |x - alpha point|^2 / (2 sigma^2), and the
    score is (alpha denoised - x) / sigma^2. One call costs O(b n d).
    """

    points: Float[Array, "n *dims"]
    sde: SDE = flax.struct.field(pytree_node=False)
    weights: Float[Array, "n"] | None = None  # sum to 1; None for equal weights

    def log_weights(self) -> Float[Array, "n"]:
        """ln w of each point."""
        n = len(self.points)
        return jnp.full(n, -math.log(n)) if self.weights is None else jnp.log(self.weights)

    def _log_kernels(self, x: Images, t: PerImage) -> Float[Array, "b n"]:
        """ln w - |x - alpha point|^2 / (2 sigma^2).

        Computed from differences and not from expanded squares, whose terms would cancel at small sigma.
        """
        alpha, sigma = self.sde.alpha(t), self.sde.sigma(t)

        def for_one(x, alpha, sigma):
            squares = jnp.sum(((x[None] - alpha * _flat(self.points)) / sigma) ** 2, axis=1)
            return self.log_weights() - 0.5 * squares

        return jax.vmap(for_one)(_flat(x), alpha, sigma)

    def denoised(self, x: Images, t: PerImage) -> Images:
        weights = jax.nn.softmax(self._log_kernels(x, t), axis=1)
        return _product(weights, _flat(self.points)).reshape(x.shape)

    def __call__(self, x: Images, t: PerImage) -> Images:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        return (alpha * self.denoised(x, t) - x) / sigma**2

    def log_density(self, x: Images, t: PerImage) -> PerImage:
        """ln p_t(x) in nats."""
        normaliser = 0.5 * x[0].size * jnp.log(2.0 * jnp.pi * self.sde.sigma(t) ** 2)
        return jax.nn.logsumexp(self._log_kernels(x, t), axis=1) - normaliser
