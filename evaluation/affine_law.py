"""The exact law of a sampler's output where that is affine in its noise, with no sampling.

So it is for Gaussian data with the exact score, and for each guidance that keeps a score affine. A step takes x to
M x + b + B z; the columns of M and B are differences of the step's outputs from unit states and unit noises. All steps are asked
side by side, and mean and covariance follow by recursion, in float64 if the arrays are.
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
    """Of flattened images."""

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
    """The law at the last time of the grid, from the sampler's prior at the first.

    Args:
      sampler: one whose next step reads nothing but the state, so no multistep method.
      shape: of an image, of d numbers.
      condition: what is bound to the score, of one image, without the leading b.
      slots: noises that a step draws.
      together: steps that the sampler must be shown at once; the grid has a whole number of them.

    Cost: 1 + d + d slots images for each step, in one program.
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
    """(steps, 1 + d + d slots together, *shape): from the state 0 without noise, from unit states, and from unit noises."""
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
