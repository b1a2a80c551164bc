"""What is no covariance, and no set of weights, makes no exact score: its densities would not be of the law it is taken for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal

from score_sde.errors import ConfigError
from score_sde.models.exact import GaussianScore, MixtureScore
from score_sde.sde_lib import VP

MEAN, COVARIANCE = np.array([0.3, -0.2]), np.array([[2.0, 1.2], [1.2, 1.0]])


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (np.linalg.cholesky(COVARIANCE), "differs from its transpose by up to 0.849: .* L @ L.T"),
        (
            np.array([[1.0, 2.0], [2.0, 1.0]]),
            "the eigenvalue -1: expected a positive semi-definite",
        ),
        (-np.eye(2), "the eigenvalue -1: "),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "differs from its transpose by up to nan"),
    ],
    ids=["Cholesky factor", "indefinite", "negative", "NaN"],
)
def test_a_matrix_that_is_no_covariance_is_refused(covariance, message):
    with pytest.raises(ConfigError, match=message):
        GaussianScore.create(MEAN, covariance, VP())
    both = np.stack([COVARIANCE, covariance])
    with pytest.raises(ConfigError, match=message):
        MixtureScore.create(np.full(2, 0.5), np.stack([MEAN, MEAN]), both, VP())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([3.0, 1.0], "from 1 to 3 with the sum 4: expected probabilities"),
        ([1.5, -0.5], "from -0.5 to 1.5 with the sum 1: "),
        ([0.5, np.nan], "with the sum nan"),
    ],
    ids=str,
)
def test_weights_that_are_no_probabilities_are_refused(weights, message):
    with pytest.raises(ConfigError, match=message):
        MixtureScore.create(
            np.array(weights), np.stack([MEAN] * 2), np.stack([COVARIANCE] * 2), VP()
        )


@pytest.mark.parametrize("size", [1, 3, 200])
def test_covariances_of_low_rank_and_rounded_weights_are_some(size):
    """In float32 the eigenvalues that are 0 come out as -1e-7 of the largest."""
    factor = np.random.default_rng(0).normal(size=(size, max(size // 4, 1))).astype(np.float32)
    weights = np.full(3, 1 / 3, np.float32)
    means, covariances = np.zeros((3, size), np.float32), np.stack([factor @ factor.T] * 3)
    model = MixtureScore.create(weights, means, covariances, VP())
    assert model.components.eigenvalues.min() >= 0


def test_a_mixture_of_one_is_that_gaussian_to_the_bit():
    alone = GaussianScore.create(MEAN, COVARIANCE, VP())
    of_two = MixtureScore.create(
        np.array([0.5, 0.5]), np.stack([MEAN] * 2), np.stack([np.eye(2), COVARIANCE]), VP()
    )
    for one, both in zip(*map(jax.tree.leaves, (alone, of_two.components)), strict=True):
        assert_array_equal(one, both[1])


def test_traced_values_are_not_looked_at():
    """Gradients in a covariance are of its symmetric part, and one that is no number yet cannot be refused."""
    x, t = jnp.asarray([[0.5, 0.1]], jnp.float32), jnp.full(1, 1e-4)

    def density(covariance):
        return GaussianScore.create(MEAN, covariance, VP()).log_density(x, t)[0]

    expected = scipy.stats.multivariate_normal(MEAN, COVARIANCE).logpdf(np.asarray(x))
    assert_allclose(jax.jit(density)(COVARIANCE), expected, rtol=1e-3)
    assert np.isfinite(jax.grad(density)(jnp.asarray(COVARIANCE))).all()
