"""How every sampler is called, and what it gives back."""

from __future__ import annotations

import abc
from typing import NamedTuple

from jaxtyping import Float

from score_sde.models.score import ScoreModel
from score_sde.samplers.noise import START, Noise
from score_sde.sde_lib import SDE
from score_sde.shapes import Array, Images, Points


class Samples(NamedTuple):
    """x in the units of the process; nfe, the evaluations of the score model an image took."""

    x: Images
    nfe: Array | int
    path: Float[Array, "n b *dims"] | None = None
    """States at each time of the grid, the start first; only when asked for."""
    success: Array | bool = True
    """False when an adaptive solver gave up: x is then meaningless."""


class Sampler(abc.ABC):
    """A subclass says how it goes from a state at grid[0] to one at grid[-1]."""

    sde: SDE

    @abc.abstractmethod
    def sample(
        self, score: ScoreModel, grid: Points, noise: Noise, x: Images, keep_path: bool
    ) -> Samples:
        """One batch at the last time of the grid, from x (b, ...) at the first: what a subclass implements, and `__call__` calls.

        The score is asked at x (b, ...) and times (b,). `grid` are decreasing times (n + 1,) of n steps.
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
        """One batch of samples at the last time of the grid.

        Args:
          grid: decreasing times, one more than there are steps; adaptive steps take the first and the last only.
          noise: where the start state and every step draw from.
          like: an array that says shape and dtype of the samples.
          x_start: the state at grid[0]; a draw of the prior if None.
          keep_path: also return x at every time.
        """
        x = self.sde.prior_sample(noise(START, 0, like)) if x_start is None else x_start
        return self.sample(score, grid, noise, x, keep_path)
