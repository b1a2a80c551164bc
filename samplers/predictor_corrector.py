"""Predictor-corrector sampling of the reverse SDE (Song et al. 2021, Alg. 1, 4 and 5)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.models.score import ScoreModel
from score_sde.samplers.correctors import Corrector
from score_sde.samplers.noise import Noise
from score_sde.samplers.predictors import Predictor
from score_sde.samplers.stepping import SteppedSampler
from score_sde.sde_lib import SDE
from score_sde.shapes import Images, Index, Points, Scalar


@dataclasses.dataclass(frozen=True)
class PredictorCorrector(SteppedSampler):
    """The predictor takes x from t_k to t_{k+1}; then the corrector takes `corrector_steps` steps there.

    This is the order of the paper's Algorithm 1; the published code runs the corrector first. Without `last_noise` the last
    step returns the predictor's mean: it adds no noise, and no corrector follows it.

    Without a predictor this is annealed Langevin dynamics (Song and Ermon 2019, Alg. 1), with one noise level per time. As
    every step corrects at its end, a first level that is also to be corrected must appear in the grid twice.
    """

    sde: SDE
    predictor: Predictor | None
    corrector: Corrector | None
    snr: float = 0.16
    corrector_steps: int = 1
    last_noise: bool = True

    def __post_init__(self):
        if self.predictor is None and self.corrector is None:
            raise ConfigError(
                "sampling.pc.predictor and sampling.pc.corrector are both 'none', so the state would never change; "
                "choose at least one"
            )
        if self.predictor is None and not self.last_noise:
            raise ConfigError(
                "sampling.noise_removal_by='predictor_mean' with sampling.pc.predictor='none': there is no "
                "predictor; set noise_removal_by='tweedie'"
            )

    @property
    def corrections(self) -> int:
        """Evaluations by the corrector after each predictor step."""
        return 0 if self.corrector is None else self.corrector_steps

    def nfe(self, num_steps: int) -> int:
        predictions = num_steps * int(self.predictor is not None)
        return predictions + (num_steps - int(not self.last_noise)) * self.corrections

    def step(
        self, score: ScoreModel, grid: Points, noise: Noise, k: Index, state: Images
    ) -> Images:
        t, s, x = grid[k], grid[k + 1], state
        last = k == grid.shape[0] - 2
        if self.predictor is not None:
            z = noise(k, 0, x)
            if not self.last_noise:
                z = jnp.where(last, jnp.zeros_like(z), z)
            x = self.predictor(score, self.sde, x, t, s, z)
        if self.corrector is None:
            return x
        if self.last_noise:
            return self.correct(score, noise, k, t, s, x)
        return jax.lax.cond(last, lambda x: x, lambda x: self.correct(score, noise, k, t, s, x), x)

    def correct(
        self, score: ScoreModel, noise: Noise, k: Index, t: Scalar, s: Scalar, x: Images
    ) -> Images:
        """Take all corrector steps at s, after a step from t."""
        assert self.corrector is not None
        a = self.sde.alpha_between(s, t)
        corrector = self.corrector

        def correct_once(j: Index, x: Images) -> Images:
            return corrector(score, self.sde, x, s, a, noise(k, 1 + j, x), self.snr)

        # A compiled loop: NCSN takes 100 steps per level, and each unrolled step would hold a copy of the network.
        return jax.lax.fori_loop(0, self.corrector_steps, correct_once, x)
