"""The exact distribution of a sampler's output, without sampling, where the output is affine in the noise.

This holds for Gaussian data with the exact score, and for guidance that keeps the score affine. A step maps x to
M x + b + B z; the columns of M and B are differences of the step's outputs for unit states and unit noises. All steps are evaluated
in parallel, and mean and covariance follow by recursion, in float64 if the arrays are.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.models.score import ScoreModel, bind
from score_sde.samplers.noise import RecordedNoise
from score_sde.samplers.record import Sampler
from score_sde.shapes import Points


class Law(NamedTuple):
    """A Gaussian distribution of flattened images."""

    mean: np.ndarray
    covariance: np.ndarray


def affine_law(
    sampler: Sampler,
    score: ScoreModel,
    grid: Points,
    shape: tuple[int, ...],
    condition: Any = (),
    slots: int = 1,
    together: int = 1,
) -> Law:
    """The distribution at the last time of the grid, starting from the sampler's prior at the first.

    Args:
      sampler: a sampler whose steps depend only on the current state, so not a multistep method.
      shape: shape of an image, with d elements.
      condition: bound to the score, for a single image, without batch axis.
      slots: number of noise arrays that a step draws.
      together: number of steps that the sampler must take in one call; it divides the number of steps of the grid.

    Cost: 1 + d + d slots images per step, in one program.
    """
    d = int(np.prod(shape))
    spans = range(0, len(grid) - 1, together)
    windows = jnp.stack([jnp.asarray(grid)[k : k + together + 1] for k in spans])
    out = np.asarray(_steps(sampler, shape, slots, together, score, condition, windows))
    out = out.reshape(len(windows), -1, d)
    mean = np.zeros(d)
    covariance = np.square(float(sampler.sde.prior_std)) * np.eye(d)
    for images in out:
        offset, columns = images[0], (images[1:] - images[0]).T
        matrix, noises = columns[:, :d], columns[:, d:]
        mean = matrix @ mean + offset
        covariance = matrix @ covariance @ matrix.T + noises @ noises.T
    return Law(mean, covariance)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _steps(
    sampler: Sampler,
    shape: tuple[int, ...],
    slots: int,
    together: int,
    score: Any,
    condition: Any,
    windows: Any,
) -> Any:
    """Outputs (steps, 1 + d + d slots together, *shape) for the state 0 without noise, unit states, and unit noises."""
    d = int(np.prod(shape))
    places = d + together * slots * d
    units = jnp.concatenate([jnp.zeros((1, places)), jnp.eye(places)])
    x = units[:, :d].reshape(-1, *shape)
    z = jnp.moveaxis(units[:, d:].reshape(-1, together, slots, *shape), 0, 2)
    each = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf[None], (len(units), *leaf.shape)), condition
    )
    bound = bind(score, each)
    return jax.vmap(lambda grid: sampler(bound, grid, RecordedNoise(x, z), x, x).x)(windows)
