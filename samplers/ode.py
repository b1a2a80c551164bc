"""The probability-flow ODE dx/dt = f x - g^2/2 score, solved by diffrax (Song et al. 2021, Eq. 13).

Sampling runs it from T down to eps; evaluation/likelihood.py from eps up to T with the divergence beside.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from models.score import ScoreModel, denoise
from samplers.adaptive import Solver
from samplers.noise import START, Noise
from samplers.predictors import batch_times
from samplers.record import Samples
from sde_lib import SDE


def probability_flow(sde: SDE) -> Callable[[Array, Array, ScoreModel], Array]:
    """The vector field (t, x, score_model) -> dx/dt."""

    def field(t: Array, x: Array, score: ScoreModel) -> Array:
        times = batch_times(x, t)
        return sde.reverse_drift(x, times, score(x, times), h=0.0)

    return field


@dataclasses.dataclass(frozen=True)
class ProbabilityFlow:
    """Samples by the probability-flow ODE from T to eps, then a Tweedie step if `noise_removal`."""

    sde: SDE
    solver: Solver
    noise_removal: bool = True

    def __call__(
        self,
        score: ScoreModel,
        eps: float,
        noise: Noise,
        like: Array,
        x_start: Array | None = None,
    ) -> Samples:
        """One batch of samples at time eps.

        Args:
          score: the score model.
          eps: the end time.
          noise: where the start state draws from.
          like: an array (b, ...) that says shape and dtype of the samples.
          x_start: the state at T; a draw of the prior if None.
        """
        x = self.sde.prior_sample(noise(START, 0, like)) if x_start is None else x_start
        x, nfe, success = self.solver.solve(probability_flow(self.sde), x, self.sde.T, eps, score)
        if self.noise_removal:
            times = batch_times(x, jnp.asarray(eps))
            x, nfe = denoise(self.sde, score(x, times), x, times), nfe + 1
        return Samples(x, nfe, None, success)
