"""Inpainting and colourisation by the published code's loop, to the letter (score_sde's `controllable_generation.py`).

imputation.py is what to use otherwise. What is different here, beside what published.py says of the loop:

- at the start what is known has no noise, and the prior is blanked at the *pixels* whose numbers are those of the known modes: in
  colourisation the red channel in place of the grey;
- what is known is put in once after all corrector steps and once after the predictor;
- "denoising" takes the known part's mean, but the rest as it is, with the noise of the last predictor step.
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
    """The published sampler with what is known put in. Slots of noise: its own, then one for each time of putting in."""

    def step(self, score: Any, grid: Points, noise: Noise, k: Index, state: State) -> State:
        t, slot = grid[k], 1 + self.corrector_steps
        x = jnp.where(k == 0, begun(score, state.x), state.x)
        x = self.correct(score, t, noise, k, x)
        x = impute(score, self.sde, x, t, noise(k, slot, x))
        x = self.predict(score, t, noise(k, 0, x), x).x
        x = impute(score, self.sde, x, t, noise(k, slot + 1, x))
        return State(x, impute(score, self.sde, x, t, jnp.zeros_like(x)))


def begun(score: PosteriorScore, prior: Images) -> Images:
    """The published start: what is known, and the prior's noise at the pixels that are not masked."""
    known, is_known = known_modes(score)
    image = spectral(score.measurement, "imputation").image(known)
    return image + jnp.where(is_known, 0.0, prior)
