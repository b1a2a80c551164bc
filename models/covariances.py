"""Checks of what an exact score is made from, and the eigenvectors of a covariance. Traced values are not known yet, and pass."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.errors import ConfigError
from score_sde.sde_lib.base import real_numbers
from score_sde.shapes import Array

ROUNDING = 1e-5  # of sums, products and eigenvalues in float32, relative to the largest


def decomposed(mean: Any, covariance: Any) -> tuple[Array, Array, Array]:
    """The mean (d,), and the eigenvalues (d,) and eigenvectors (d, d), as columns, of the covariance (d, d).

    Leading axes are those of several Gaussians. Eigenvalues that are negative by rounding become 0.

    Raises:
      ConfigError: a mean of another size, or a matrix that is not symmetric and positive semi-definite.
    """
    mean, covariance = real_numbers(mean), real_numbers(covariance)
    if not mean.shape or covariance.shape != (*mean.shape, mean.shape[-1]):
        raise ConfigError(
            f"a mean of shape {mean.shape} with a covariance of shape {covariance.shape}: expected (d,) and (d, d), or (k, d) and (k, d, d) for "
            "the k components of a mixture"
        )
    check_symmetric(covariance)
    eigenvalues, eigenvectors = jnp.linalg.eigh(covariance)
    check_not_negative(eigenvalues)
    return mean, jnp.maximum(eigenvalues, 0.0), eigenvectors


def check_symmetric(covariance: Array) -> None:
    """Refuse matrices (..., d, d) that differ from their transposes; the eigenvectors would be those of the mean of the two."""
    if isinstance(covariance, jax.core.Tracer):
        return
    values = np.asarray(covariance, np.float64)
    differences = np.abs(values - np.swapaxes(values, -1, -2))
    if not np.all(differences <= ROUNDING * np.abs(values).max((-2, -1), keepdims=True)):
        raise ConfigError(
            f"a covariance that differs from its transpose by up to {differences.max():.3g}: expected a symmetric matrix; of a Cholesky factor L it is L @ L.T"
        )


def check_not_negative(eigenvalues: Array) -> None:
    """Refuse ascending eigenvalues (..., d) of which the first is negative beyond rounding."""
    if isinstance(eigenvalues, jax.core.Tracer):
        return
    values = np.asarray(eigenvalues, np.float64)
    if not np.all(values[..., 0] >= -ROUNDING * values[..., -1]):
        raise ConfigError(
            f"a covariance with the eigenvalue {values.min():.3g}: expected a positive semi-definite matrix, that of x.T @ C @ x >= 0 for all x"
        )


def check_weights(weights: Array, count: int) -> None:
    """Refuse weights that are not the probabilities of this number of components."""
    if weights.shape != (count,):
        raise ConfigError(
            f"weights of shape {weights.shape} for {count} components: expected ({count},)"
        )
    if isinstance(weights, jax.core.Tracer):
        return
    values = np.asarray(weights, np.float64)
    if not (np.all(values >= 0) and abs(values.sum() - 1.0) <= ROUNDING):
        raise ConfigError(
            f"weights of a mixture from {values.min():.4g} to {values.max():.4g} with the sum {values.sum():.6g}: expected probabilities, whose sum is 1"
        )
