"""Samplers of networks trained for few steps: one step takes noise to an image, more steps refine it.

Consistency sampling (Song et al. 2023, Alg. 1): the consistency function f maps x at t to the end of its path, x_eps. For
another step, the forward process takes that from eps back to an earlier noise level at s,

    x_s = (alpha_s / alpha_eps) f(x, t) + sigma_{s | eps} z,    z ~ N(0, I),

and f is evaluated again. MeanFlow (Geng et al. 2025, Alg. 2) steps along its average velocity u, x_r = x - (t - r) u(x, r,
t).
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from score_sde.models.consistency import average_velocity_of, consistency_of
from score_sde.samplers.noise import Noise
from score_sde.samplers.predictors import batch_times
from score_sde.samplers.stepping import SteppedSampler
from score_sde.sde_lib import SDE
from score_sde.shapes import Images, Index, Points


@dataclasses.dataclass(frozen=True)
class ConsistencySampler(SteppedSampler):
    """Consistency sampling from a model with a method `consistency`; the last time of the grid is the eps of its function.

    With the exact function, x at each time has the marginal distribution of the process, however few times there are: with
    one step x_eps is a function of the initial noise, with more it is drawn anew.

    Cost: one evaluation per step.
    """

    sde: SDE

    def nfe(self, num_steps: int) -> int:
        return num_steps

    def step(self, score: object, grid: Points, noise: Noise, k: Index, state: Images) -> Images:
        t, s, eps = grid[k], grid[k + 1], grid[-1]
        end = consistency_of(score)(state, batch_times(state, t))
        # Exactly 1 and 0 in the last step, without the rounding errors of a process that has no closed form.
        last = s == eps
        kept = jnp.where(last, 1.0, self.sde.alpha_between(eps, s))
        variance = jnp.where(last, 0.0, self.sde.variance_between(eps, s))
        return kept * end + jnp.sqrt(variance) * noise(k, 0, state)


@dataclasses.dataclass(frozen=True)
class MeanFlowSampler(SteppedSampler):
    """MeanFlow sampling from a model with a method `average_velocity`, along a grid that may end at 0.

    The exact average velocity reproduces the path of the flow at every time of the grid.

    Cost: one evaluation per step.
    """

    sde: SDE

    @property
    def reaches_zero(self) -> bool:
        return True

    def nfe(self, num_steps: int) -> int:
        return num_steps

    def step(self, score: object, grid: Points, noise: Noise, k: Index, state: Images) -> Images:
        t, r = grid[k], grid[k + 1]
        times = batch_times(state, r), batch_times(state, t)
        return state - (t - r) * average_velocity_of(score)(state, *times)
