"""A pixel with two channels of four levels, and the exact score of a Gaussian that varies strongly within a level."""

import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from score_sde.models.exact import GaussianScore
from score_sde.sde_lib import VP

MEAN, STD = np.array([0.1, -0.2]), 0.3
LEVELS = 4


def gaussian_score():
    return GaussianScore(jnp.asarray(MEAN), jnp.full(2, STD**2), jnp.eye(2), VP())


def images_of(number, seed=0):
    """The levels that draws of the Gaussian fall on: the model is right."""
    x = MEAN + STD * np.random.default_rng(seed).standard_normal((number, 2))
    levels = np.clip(np.floor((x + 1) / 2 * LEVELS), 0, LEVELS - 1)
    return levels.astype(np.uint8).reshape(-1, 1, 1, 2)


def log_probability(images):
    """ln P(v) in nats, of the Gaussian on the cell of v."""
    edges = 2 * (images.reshape(-1, 2).astype(float) + np.array([[[0]], [[1]]])) / LEVELS - 1
    low, high = norm.cdf(edges, MEAN, STD)
    return np.log(high - low).sum(-1)
