"""The interface of all samplers, and what they return."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from score_sde.errors import ConfigError
from score_sde.models.score import ScoreModel, check_images
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


def time_dtype(dtype: Any) -> Any:
    """The dtype of the times for images of this one: the same, so that a float32 image stays one where float64 is the default.

    bfloat16 has too few digits for times, which are float32 there.
    """
    return jnp.promote_types(dtype, jnp.float32)


class Sampler(abc.ABC):
    """Base class of samplers: a subclass defines how to go from a state at grid[0] to one at grid[-1]."""

    sde: SDE
    fewest_times: ClassVar[int] = 2

    @property
    def reversible(self) -> bool:
        """Whether it can also go from data to noise, along a rising grid, as solvers of the ODE can."""
        return False

    @property
    def reaches_zero(self) -> bool:
        """Whether its last time can be 0, where a score is not finite in general."""
        return False

    def check_grid(self, grid: Points) -> None:
        """Refuse times that are too few, leave the process or change direction; traced ones are not known yet, and only counted.

        Raises:
          ConfigError: states the times and what was expected.
        """
        shape = np.shape(grid)
        if len(shape) != 1 or shape[0] < self.fewest_times:
            raise ConfigError(
                f"a grid of shape {shape} for {type(self).__name__}: expected {self.fewest_times} or more times, one more than there are steps, such as "
                "log_snr_grid(sde, sde.T, 1e-3, 20)"
            )
        if isinstance(grid, jax.core.Tracer):
            return
        times, T = np.asarray(grid), self.sde.T
        steps = np.diff(times)
        ordered = np.all(steps <= 0) or (self.reversible and np.all(steps >= 0))
        above = times >= 0 if self.reaches_zero else times > 0
        # The rounding of float32 may put the first time just above T.
        if not (ordered and np.all(above & (times <= T * (1 + 1e-6)))):
            raise ConfigError(
                f"a grid of {len(times)} times from {times[0]:g} to {times[-1]:g} for {type(self).__name__}: expected times that fall from T={T:g}, or "
                f"an earlier time, to {'0 or later' if self.reaches_zero else 'one above 0'}, such as log_snr_grid(sde, sde.T, 1e-3, 20)"
            )

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

        Raises:
          ConfigError: a grid outside the process, or in the other direction (unless its values are traced); no images, or integers.
        """
        self.check_grid(grid)
        check_images("samples like an array", like)
        if x_start is not None:
            check_images("a start state", x_start)
        grid = jnp.asarray(grid, time_dtype(like.dtype))
        x = self.sde.prior_sample(noise(START, 0, like)) if x_start is None else x_start
        return self.sample(score, grid, noise, x, keep_path)
