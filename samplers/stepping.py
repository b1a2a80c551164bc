"""Samplers that are a loop: one update rule, applied from each time of a grid to the next."""

from __future__ import annotations

import abc
from typing import Any

import jax
import jax.numpy as jnp

from score_sde.models.score import ScoreModel
from score_sde.samplers.noise import Noise
from score_sde.samplers.record import Sampler, Samples
from score_sde.shapes import Images, Index, PerImage, Points


class SteppedSampler(Sampler):
    """Base class of samplers that are a loop: a subclass defines one step and its cost; a step depends only on its arguments.

    A driver may therefore run the loop in pieces and show progress between them.
    """

    @abc.abstractmethod
    def step(self, score: ScoreModel, grid: Points, noise: Noise, k: Index, state: Any) -> Any:
        """The state at grid[k + 1] from that at grid[k].

        `grid` holds decreasing times (n + 1,); k is 0 to n - 1 and may be traced. Noise is drawn by `noise(k, slot, like)`.
        The state is x (b, ...) unless `begin` returns another one.
        """

    @abc.abstractmethod
    def nfe(self, num_steps: int) -> int:
        """Evaluations of the score model per image in this number of steps."""

    def jacobian_products(self, num_steps: int) -> int:
        """Products with the model's Jacobian that the sampler takes per image, in addition to those of its score."""
        return 0

    def num_steps(self, grid: Points) -> int:
        """The number of steps along a grid of (n + 1,) times: n."""
        return grid.shape[0] - 1

    def begin(self, x: Images) -> Any:
        """The state of the loop before its first step, from x at grid[0]."""
        return x

    def result(self, state: Any) -> Images:
        """x from the state after the last step."""
        return state

    def figures(self, state: Any) -> dict[str, PerImage]:
        """What else the state after the last step says of each image (b,), by name; nothing unless a sampler overrides it."""
        return {}

    def advance(
        self, score: ScoreModel, grid: Points, noise: Noise, first: Any, last: Any, state: Any
    ) -> Any:
        """The state at grid[last] from that at grid[first], by the steps first to last - 1 in an XLA loop.

        `first` and `last` may be traced, so that one program serves every piece of a run. Cost: `nfe(last - first)`
        evaluations.
        """
        return jax.lax.fori_loop(
            first, last, lambda k, state: self.step(score, grid, noise, k, state), state
        )

    def sample(
        self, score: ScoreModel, grid: Points, noise: Noise, x: Images, keep_path: bool
    ) -> Samples:
        def body(state: Any, k: Index) -> tuple[Any, Images | None]:
            state = self.step(score, grid, noise, k, state)
            return state, self.result(state) if keep_path else None

        num_steps = self.num_steps(grid)
        last, states = jax.lax.scan(body, self.begin(x), jnp.arange(num_steps))
        path = None if states is None else jnp.concatenate([x[None], states])
        return Samples(self.result(last), self.nfe(num_steps), path)
