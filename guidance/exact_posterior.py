"""The exact score given a measurement y, for models known in closed form: the reference for all other methods.

The posterior of x_0 given y is in the same family as the prior, so its score at time t is that of models/exact.py:

    N(m, S):      N(m + K (y - A m), S - K A S),   K = S A^T (A S A^T + sigma_y^2 I)^{-1};
    mixture:      each component as above, with weights w_k N(y; A m_k, A S_k A^T + sigma_y^2 I);
    finite set:   the points with weights N(y; A point, sigma_y^2 I).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from score_sde.errors import ConfigError
from score_sde.guidance.posterior import PosteriorScore
from score_sde.measurements.measurement import Measurement, linear
from score_sde.models.exact import PRECISION, FiniteDataScore, GaussianScore, MixtureScore
from score_sde.models.score import ScoreModel
from score_sde.sde_lib import SDE
from score_sde.shapes import Array, Images, PerImage, Scalar

Vector = Float[Array, "m"]


def _product(matrix: Float[Array, "k m"], vector: Vector) -> Float[Array, "k"]:
    return jnp.matmul(matrix, vector, precision=PRECISION)


@flax.struct.dataclass
class GivenGaussian:
    """The parts of the posterior of N(m, S) that do not depend on y: gain, covariance and the distribution of y."""

    predicted: Vector
    """A m, the mean of y."""
    gain: Float[Array, "d m"]
    """K, the gain."""
    precision: Float[Array, "m m"]
    """The precision of y, the (pseudo-)inverse of A S A^T + sigma_y^2 I."""
    log_volume: Scalar
    """ln det(2 pi (A S A^T + sigma_y^2 I)), over the directions of non-zero variance."""
    prior: GaussianScore
    posterior: GaussianScore
    """With the covariance of the posterior, but the mean of the prior."""

    def given(self, y: Vector) -> GaussianScore:
        mean = self.prior.mean + _product(self.gain, y - self.predicted)
        return self.posterior.replace(mean=mean)  # type: ignore[attr-defined]

    def log_evidence(self, y: Vector) -> Scalar:
        """ln p(y)."""
        off = y - self.predicted
        return -0.5 * (jnp.sum(off * _product(self.precision, off)) + self.log_volume)


@flax.struct.dataclass
class GivenMixture:
    """The posterior of a mixture, as a function of y: the posterior and the evidence of each component."""

    weights: Float[Array, "k"]
    components: GivenGaussian  # leaves with a leading axis k

    def given(self, y: Vector) -> MixtureScore:
        log_joint, components = jax.vmap(lambda one: (one.log_evidence(y), one.given(y)))(
            self.components
        )
        return MixtureScore(jax.nn.softmax(jnp.log(self.weights) + log_joint), components)

    def log_evidence(self, y: Vector) -> Scalar:
        """ln p(y)."""
        log_joint = jax.vmap(lambda one: one.log_evidence(y))(self.components)
        return jax.nn.logsumexp(jnp.log(self.weights) + log_joint)


@flax.struct.dataclass
class GivenFinite:
    """The posterior of a finite set of images, as a function of y."""

    prior: FiniteDataScore
    measured: Float[Array, "n m"]
    """The points, measured by A."""
    std: Scalar | float

    def _log_likelihoods(self, y: Vector) -> Float[Array, "n"]:
        squares = jnp.sum(jnp.square((y[None] - self.measured) / self.std), axis=1)
        return -0.5 * squares - len(y) * jnp.log(jnp.sqrt(2.0 * jnp.pi) * self.std)

    def given(self, y: Vector) -> FiniteDataScore:
        log_weights = self.prior.log_weights() + self._log_likelihoods(y)
        return FiniteDataScore(self.prior.points, self.prior.sde, jax.nn.softmax(log_weights))

    def log_evidence(self, y: Vector) -> Scalar:
        """ln p(y)."""
        return jax.nn.logsumexp(self.prior.log_weights() + self._log_likelihoods(y))


class Known(NamedTuple):
    """A measurement: A as a matrix (m, d), and sigma_y."""

    matrix: np.ndarray
    std: float


def given_gaussian(model: GaussianScore, known: Known) -> GivenGaussian:
    """The posterior of a Gaussian, computed in NumPy's float64, so that only the model's own parameters limit its precision."""
    parts = (
        np.asarray(part, np.float64) for part in (model.eigenvectors, model.eigenvalues, model.mean)
    )
    vectors, values, mean = parts
    prior, a = (vectors * values) @ vectors.T, known.matrix
    of_y = a @ prior @ a.T + known.std**2 * np.eye(len(a))
    spreads, directions = np.linalg.eigh(of_y)
    varies = spreads > len(a) * np.finfo(np.float64).eps * spreads.max(initial=0.0)
    inverse = np.where(varies, 1.0 / np.where(varies, spreads, 1.0), 0.0)
    precision = (directions * inverse) @ directions.T
    gain = prior @ a.T @ precision
    # Joseph's form: a sum of squares, which stays positive under rounding
    left = np.eye(len(mean)) - gain @ a
    covariance = left @ prior @ left.T + known.std**2 * gain @ gain.T
    volume = np.sum(np.log(2 * np.pi * np.where(varies, spreads, 1.0 / (2 * np.pi))))
    posterior = GaussianScore.create(jnp.asarray(mean), jnp.asarray(covariance), model.sde)
    predicted, gain, precision, volume = map(jnp.asarray, (a @ mean, gain, precision, volume))
    return GivenGaussian(predicted, gain, precision, volume, model, posterior)


def given_mixture(model: MixtureScore, known: Known) -> GivenMixture:
    """The posterior of a mixture under a linear measurement with Gaussian noise."""
    each = [
        given_gaussian(jax.tree.map(lambda leaf, k=k: leaf[k], model.components), known)
        for k in range(len(model.weights))
    ]
    return GivenMixture(model.weights, jax.tree.map(lambda *leaves: jnp.stack(leaves), *each))


def given_finite(model: FiniteDataScore, known: Known) -> GivenFinite:
    """The posterior of a finite set under a linear measurement with Gaussian noise."""
    if not known.std > 0:
        raise ConfigError(
            "the posterior of a finite set with sigma_y=0 is empty except by chance; set sigma_y > 0"
        )
    points = np.asarray(model.points, np.float64).reshape(len(model.points), -1)
    return GivenFinite(model, jnp.asarray(points @ known.matrix.T), known.std)


FAMILIES: dict[type, Callable[[Any, Known], Any]] = {
    GaussianScore: given_gaussian,
    MixtureScore: given_mixture,
    FiniteDataScore: given_finite,
}


@flax.struct.dataclass
class ExactPosterior(PosteriorScore):
    """The exact score given y. Cost: one evaluation of the model, with other parameters for each image."""

    family: Any = None

    def law(self, y: Vector) -> ScoreModel:
        """The score model of x_0 given a single y, flattened."""
        return self.family.given(y)

    def log_evidence(self, y: Vector) -> Scalar:
        """ln p(y) of a single y, flattened, in nats."""
        return self.family.log_evidence(y)

    def __call__(self, x: Images, t: PerImage) -> Images:
        def one(y: Vector, x: Array, t: Scalar) -> Array:
            return self.law(y)(x[None], t[None])[0]

        return jax.vmap(one)(self.measured().reshape(len(x), -1), x, t)


def exact_posterior(model: ScoreModel, measurement: Measurement, sde: SDE) -> ExactPosterior:
    """Build the exact score given y. Cost: O(d^3) once per component, for images of d dimensions.

    Raises:
      ConfigError: the posterior of the model is not known in closed form, or A is not linear.
    """
    family = FAMILIES.get(type(model))
    if family is None:
        names = ", ".join(kind.__name__ for kind in FAMILIES)
        raise ConfigError(
            f"the exact posterior of {type(model).__name__} is not known, only that of {names}; use MMPS, which needs no "
            "closed form"
        )
    matrix = np.asarray(linear(measurement, "the exact posterior").matrix(), np.float64)
    return ExactPosterior(
        model, measurement, sde, family=family(model, Known(matrix, float(measurement.std)))
    )
