"""The exact distribution of a sampler's output on correlated Gaussian data, for which the output is affine in the noise."""

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.models.exact import GaussianScore
from score_sde.samplers.noise import RecordedNoise

MU = np.array([0.5, -0.2, 0.1])
SIGMA = np.array([[0.5, 0.3, -0.1], [0.3, 0.4, 0.05], [-0.1, 0.05, 0.2]])
D = len(MU)


def measured_law(sampler, grid, slots, x_start=None, mu=MU, sigma=SIGMA):
    """Mean and covariance after the grid, from the prior or a given start (d,); no sampling.

    One image gets no noise, each of the others 1 in one place: their difference is a column of the Jacobian.
    """
    steps, d = len(grid) - 1, len(mu)
    places = (steps * slots + (x_start is None)) * d
    units = np.concatenate([np.zeros((1, places)), np.eye(places)])
    start = units[:, :d] if x_start is None else None
    z = units[:, d * (x_start is None) :].reshape(-1, steps, slots, d).transpose(1, 2, 0, 3)
    like = jnp.zeros((places + 1, d))
    given = None if x_start is None else jnp.broadcast_to(jnp.asarray(x_start), like.shape)
    score = GaussianScore.create(jnp.asarray(mu), jnp.asarray(sigma), sampler.sde)
    noise = RecordedNoise(start, jnp.asarray(z))
    run = jax.jit(lambda noise: sampler(score, grid, noise, like, given).x)
    x = np.asarray(run(noise))
    return x[0], (x[1:] - x[0]).T @ (x[1:] - x[0])
