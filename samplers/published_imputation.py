"""Inpainting and colorization by the loop of the published code, reproduced exactly (score_sde's `controllable_generation.py`).

Otherwise use imputation.py. The differences, in addition to those of the loop listed in published.py:

- at the start the known part has no noise, and the prior sample is set to 0 at the *pixels* whose indices are those of the
  known modes: in colorization the red channel instead of the grey mode;
- the known part is imputed once after all corrector steps and once after the predictor step;
- "denoising" takes the mean of the known part, but leaves the noise of the last predictor step in the rest.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from score_sde.guidance.posterior import PosteriorScore
from score_sde.measurements.measurement import spectral
from score_sde.samplers.imputation import impute, known_modes
from score_sde.samplers.noise import Noise
from score_sde.samplers.published import PublishedPredictorCorrector, State
from score_sde.shapes import Images, Index, Points


@dataclasses.dataclass(frozen=True)
class PublishedImputation(PublishedPredictorCorrector):
    """The published sampler with imputation. Noise slots: its own, then one for each imputation."""

    def step(self, score: Any, grid: Points, noise: Noise, k: Index, state: State) -> State:
        t, slot = grid[k], 1 + self.corrector_steps
        x = jnp.where(k == 0, begun(score, state.x), state.x)
        x = self.correct(score, t, noise, k, x)
        x = impute(score, self.sde, x, t, noise(k, slot, x))
        x = self.predict(score, t, noise(k, 0, x), x).x
        x = impute(score, self.sde, x, t, noise(k, slot + 1, x))
        return State(x, impute(score, self.sde, x, t, jnp.zeros_like(x)))


def begun(score: PosteriorScore, prior: Images) -> Images:
    """The published start: the known part, plus the prior sample with its masked pixels set to 0."""
    known, is_known = known_modes(score)
    image = spectral(score.measurement, "imputation").image(known)
    return image + jnp.where(is_known, 0.0, prior)
