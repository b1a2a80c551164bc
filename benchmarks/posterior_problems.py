"""Inverse problems with a known posterior: priors, and one measurement of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.guidance.exact_posterior import exact_posterior
from score_sde.measurements.axes import box_mean
from score_sde.measurements.linear import Linear
from score_sde.measurements.matrices import Matrix
from score_sde.measurements.measurement import Measurement
from score_sde.models.exact import FiniteDataScore, GaussianScore, MixtureScore
from score_sde.sde_lib import SDE, VP

SIDE = (-2, -1, 0, 1, 2)


class Problem(NamedTuple):
    """A prior as a score model, a measurement operator, the measured values y, and the posterior of x_0."""

    model: Any
    measurement: Measurement
    y: np.ndarray
    sde: SDE

    @property
    def posterior(self) -> Any:
        law = exact_posterior(self.model, self.measurement, self.sde).law(jnp.asarray(self.y))
        return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), law)

    @property
    def affine(self) -> bool:
        """Whether the exact score is affine."""
        return isinstance(self.model, GaussianScore)


def pair(std: float) -> Problem:
    """Two numbers of unit variance and correlation .8, of which the first is measured as 1."""
    sde = VP()
    model = GaussianScore.create(jnp.zeros(2), jnp.array([[1.0, 0.8], [0.8, 1.0]]), sde)
    return Problem(model, Measurement.of(Matrix.of([[1.0, 0.0]], (2,)), std), np.ones(1), sde)


def field(std: float) -> Problem:
    """Eight pixels with covariance .9^|i - j|, of which the means of adjacent pairs are measured, with the values of a sine wave."""
    sde, pixels = VP(), np.arange(8)
    covariance = 0.9 ** np.abs(pixels[:, None] - pixels)
    model = GaussianScore.create(jnp.zeros(8), jnp.asarray(covariance), sde)
    return Problem(model, Measurement.of(box_mean((8,), 2), std), np.sin(np.arange(4.0)), sde)


def modes(dimension: int, measured: int, seed: int = 0) -> Problem:
    """Cardoso et al. 2024: 25 modes of unit variance at (8 i, 8 j), tiled to `dimension`, and a random measurement.

    The weights are normalized exponential variables; singular values are uniform on (0, 1), and sigma_y on (0, largest singular value).
    """
    rng, sde = np.random.default_rng([seed, dimension, measured]), VP()
    means = np.tile([(8.0 * i, 8.0 * j) for i in SIDE for j in SIDE], dimension // 2)
    weights = rng.exponential(size=25)
    weights /= weights.sum()
    u, _, vt = np.linalg.svd(rng.standard_normal((measured, dimension)), full_matrices=False)
    singular = rng.uniform(size=measured)
    linear: Linear = Matrix.of((u * singular) @ vt, (dimension,))
    measurement = Measurement.of(linear, float(rng.uniform() * singular.max()))
    covariances = np.tile(np.eye(dimension), (25, 1, 1))
    model = MixtureScore.create(
        jnp.asarray(weights), jnp.asarray(means), jnp.asarray(covariances), sde
    )
    x = means[rng.choice(25, p=weights)] + rng.standard_normal(dimension)
    noise = rng.standard_normal(measured)
    y = (u * singular) @ vt @ x + measurement.std * noise
    return Problem(model, measurement, np.asarray(y), sde)


def points(std: float) -> Problem:
    """Sixteen points in three dimensions; the first two coordinates are measured near those of the first point."""
    rng, sde = np.random.default_rng(0), VP()
    data = rng.standard_normal((16, 3))
    measurement = Measurement.of(Matrix.of(np.eye(2, 3), (3,)), std)
    return Problem(FiniteDataScore(jnp.asarray(data), sde), measurement, data[0, :2] + 0.1, sde)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "pair .5": lambda: pair(0.5),
    "pair .1": lambda: pair(0.1),
    "pair 0": lambda: pair(0.0),
    "field .1": lambda: field(0.1),
    "points .3": lambda: points(0.3),
    **{
        f"modes {d}/{m}": lambda d=d, m=m: modes(d, m)  # type: ignore[misc]
        for d in (8, 80)
        for m in (1, 2, 4)
    },
}


def exact_draws(law: Any, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw samples (count, d) of the posterior of a finite set or a mixture."""
    chosen = rng.choice(len(law.weights), count, p=law.weights / law.weights.sum())
    if isinstance(law, FiniteDataScore):
        return np.asarray(law.points)[chosen]
    parts = law.components
    roots = parts.eigenvectors * np.sqrt(parts.eigenvalues)[:, None]
    z = rng.standard_normal((count, parts.mean.shape[1]))
    return parts.mean[chosen] + np.einsum("nij,nj->ni", roots[chosen], z)
