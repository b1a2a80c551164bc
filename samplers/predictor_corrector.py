"""Predictor-corrector sampling of the reverse SDE (Song et al. 2021, Alg. 1, 4 and 5)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from models.score import ScoreModel, denoise
from samplers.correctors import Corrector
from samplers.noise import START, Noise
from samplers.predictors import Predictor, batch_times
from samplers.record import Samples
from sde_lib import SDE


@dataclasses.dataclass(frozen=True)
class PredictorCorrector:
    """The predictor takes x from t_k to t_{k+1}; then the corrector takes `corrector_steps` steps there.

    That is the order of the paper's Algorithm 1; the published code runs the corrector first. With
    `noise_removal` the samples are E[x_0 | x_eps], by one more evaluation, instead of x_eps.
    """

    sde: SDE
    predictor: Predictor | None
    corrector: Corrector | None
    snr: float = 0.16
    corrector_steps: int = 1
    noise_removal: bool = True

    def __post_init__(self):
        if self.predictor is None and self.corrector is None:
            raise ValueError(
                "sampling.pc.predictor and sampling.pc.corrector are both 'none': nothing would move; "
                "choose at least one"
            )

    def nfe(self, num_steps: int) -> int:
        """Evaluations of the score model that num_steps steps and the last denoising take."""
        a_step = int(self.predictor is not None)
        if self.corrector is not None:
            a_step += self.corrector_steps
        return num_steps * a_step + int(self.noise_removal)

    def start(self, noise: Noise, like: Array) -> Array:
        """A draw of the prior, shaped like `like` (b, ...)."""
        return self.sde.prior_sample(noise(START, 0, like))

    def step(self, score: ScoreModel, grid: Array, noise: Noise, k: Array, x: Array) -> Array:
        """From x at grid[k] to x at grid[k + 1]."""
        t, s = grid[k], grid[k + 1]
        if self.predictor is not None:
            x = self.predictor(score, self.sde, x, t, s, noise(k, 0, x))
        if self.corrector is not None:
            a = self.sde.alpha_between(s, t)
            for j in range(self.corrector_steps):
                z = noise(k, 1 + j, x)
                x = self.corrector(score, self.sde, x, s, a, z, self.snr)
        return x

    def finish(self, score: ScoreModel, x: Array, t: Array) -> Array:
        """The last denoising, at the end time t of the grid."""
        if not self.noise_removal:
            return x
        times = batch_times(x, t)
        return denoise(self.sde, score(x, times), x, times)

    def __call__(
        self,
        score: ScoreModel,
        grid: Array,
        noise: Noise,
        like: Array,
        x_start: Array | None = None,
        keep_path: bool = False,
    ) -> Samples:
        """Sample along the whole grid.

        Args:
          score: the score model.
          grid: decreasing times, (num_steps + 1,).
          noise: where the start state and every step draw from.
          like: an array (b, ...) that says shape and dtype of the samples.
          x_start: the state at grid[0]; a draw of the prior if None.
          keep_path: also return every state.
        """
        x = self.start(noise, like) if x_start is None else x_start

        def body(x: Array, k: Array) -> tuple[Array, Array | None]:
            x_next = self.step(score, grid, noise, k, x)
            return x_next, x_next if keep_path else None

        num_steps = grid.shape[0] - 1
        last, states = jax.lax.scan(body, x, jnp.arange(num_steps))
        path = None if states is None else jnp.concatenate([x[None], states])
        return Samples(self.finish(score, last, grid[-1]), self.nfe(num_steps), path)
