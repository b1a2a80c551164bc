"""The interface of all samplers, and what they return."""

from __future__ import annotations

import abc
from typing import NamedTuple

from jaxtyping import Float

from score_sde.models.score import ScoreModel
from score_sde.samplers.noise import START, Noise
from score_sde.sde_lib import SDE
from score_sde.shapes import Array, Images, Points


class Samples(NamedTuple):
    """Samples x in the units of the process, and nfe, the evaluations of the score model per image."""

    x: Images
    nfe: Array | int
    path: Float[Array, "n b *dims"] | None = None
    """States at each time of the grid, the start first; None unless requested."""
    success: Array | bool = True
    """False if an adaptive solver gave up; x is then meaningless."""


class Sampler(abc.ABC):
    """Base class of samplers: a subclass defines how to go from a state at grid[0] to one at grid[-1]."""

    sde: SDE

    @abc.abstractmethod
    def sample(
        self, score: ScoreModel, grid: Points, noise: Noise, x: Images, keep_path: bool
    ) -> Samples:
        """Take one batch from x (b, ...) at the first time of the grid to its last; implemented by subclasses, called by `__call__`.

        The score is evaluated at x (b, ...) and times (b,). `grid` holds the decreasing times (n + 1,) of n steps.
        """

    def __call__(
        self,
        score: ScoreModel,
        grid: Points,
        noise: Noise,
        like: Images,
        x_start: Images | None = None,
        keep_path: bool = False,
    ) -> Samples:
        """Draw one batch of samples at the last time of the grid.

        Args:
          grid: decreasing times, one more than there are steps; adaptive steps use only the first and the last.
          noise: the source of noise for the start state and every step.
          like: an array with the shape and dtype of the samples.
          x_start: the state at grid[0]; a sample of the prior if None.
          keep_path: also return x at every time.
        """
        x = self.sde.prior_sample(noise(START, 0, like)) if x_start is None else x_start
        return self.sample(score, grid, noise, x, keep_path)
