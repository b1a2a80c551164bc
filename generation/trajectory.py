"""Trajectories: the states of a few samples from noise to image."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde.devices import on_one_device
from score_sde.generation.drivers import first_states
from score_sde.generation.generate import StartImages
from score_sde.keys import seed_key
from score_sde.samplers.grids import log_snr_grid
from score_sde.samplers.noise import IndexedNoise
from score_sde.samplers.problem import Configured
from score_sde.samplers.stepping import SteppedSampler
from score_sde.sde_lib import SDE


class Trajectory(NamedTuple):
    """States (m, n, h, w, c) of n images at decreasing times (m,), the start first, before any last denoising."""

    x: np.ndarray
    times: np.ndarray


def trajectory(
    configured: Configured,
    sde: SDE,
    model: Any,
    shape: tuple[int, ...],
    num_images: int,
    seed: int,
    frames: int,
    start_images: StartImages | None = None,
) -> Trajectory:
    """Draw the first images of this seed again, on one device, and return their states at `frames` of the sampler's times.

    `model` must have their conditions bound. An adaptive sampler has no times of its own: its states are taken at equal
    steps of the log-SNR. Where the images of a batch share step sizes (adaptive solvers with step_size=batch, the published
    Langevin corrector), these few images take other steps than in their batch, and end near the samples, not exactly at
    them.
    """
    grid = configured.grid
    if configured.adaptive:
        grid = log_snr_grid(sde, float(grid[0]), float(grid[-1]), frames - 1)
    indices = np.arange(num_images)
    begin = (
        None if start_images is None else jnp.asarray(start_images.x[indices % len(start_images.x)])
    )
    are_states = start_images is not None and start_images.are_states

    def start(key: Array, begin: Any) -> tuple[Array, IndexedNoise, Array]:
        return first_states(sde, grid[0], shape, key, jnp.asarray(indices), begin, are_states)

    x, noise, like = jax.jit(start)(seed_key(seed), begin)
    sampler = configured.sampler
    if isinstance(sampler, SteppedSampler):
        return stepped(sampler, model, grid, noise, x, frames)
    return solved(sampler, model, grid, noise, like, x, frames)


def stepped(
    sampler: SteppedSampler, model: Any, grid: Array, noise: Any, x: Array, frames: int
) -> Trajectory:
    """The trajectory of a sampler that is a loop.

    States are kept at some of the times only: all of a thousand steps of large images would fill the memory.
    """
    num_steps = sampler.num_steps(grid)
    stops = np.unique(np.linspace(0, num_steps, frames).round().astype(int))

    def advance(model: Any, noise: Any, first: Array, last: Array, state: Any) -> Any:
        return sampler.advance(model, grid, noise, first, last, state)

    advance = on_one_device(advance)
    state, states = sampler.begin(x), [x]
    for first, last in zip(stops[:-1], stops[1:], strict=True):
        state = advance(model, noise, first, last, state)
        states.append(sampler.result(state))
    return Trajectory(np.stack(states), np.asarray(grid)[np.minimum(stops, len(grid) - 1)])


def solved(
    sampler: Any, model: Any, grid: Array, noise: Any, like: Array, x: Array, frames: int
) -> Trajectory:
    """The trajectory of a sampler that returns its path: one solve, whose states at some of the times are kept."""
    kept = np.unique(np.linspace(0, len(grid) - 1, frames).round().astype(int))

    def run(model: Any, noise: Any, x: Array) -> Array:
        path = sampler(model, grid, noise, like, x, keep_path=True).path
        return path[kept]

    return Trajectory(np.asarray(on_one_device(run)(model, noise, x)), np.asarray(grid)[kept])
