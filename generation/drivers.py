"""A configured sampler over the devices: one call a batch, or a few steps a call so that progress shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde.models.score import ScoreModel
from score_sde.samplers.configured import AXIS, Configured
from score_sde.samplers.noise import START, IndexedNoise, Noise
from score_sde.samplers.predictors import tweedie
from score_sde.samplers.stepping import SteppedSampler
from score_sde.sde_lib import SDE

STEPS_PER_CALL = 20  # between two updates of the progress bar

BatchSampler = Callable[
    [Any, Array, np.ndarray, Any, Callable[[float], None]], tuple[Array, Array, Array]
]
"""(score model, key, indices (devices, b), start_images (devices, b, h, w, c) or None, tick)
-> x (devices, b, h, w, c), nfe and success (devices, b). `tick` is told the share of the batch's work just done."""


def batch_sampler(
    configured: Configured, sde: SDE, shape: tuple[int, ...], start_are_states: bool = False
) -> BatchSampler:
    """Batches by this sampler of images of this shape (h, w, c)."""
    drive = in_steps if isinstance(configured.sampler, SteppedSampler) else at_once
    return drive(configured, sde, shape, start_are_states)


def first_state(
    sde: SDE, t: Array, start_images: Array | None, noise: Noise, like: Array, are_states: bool
) -> Array:
    """Where sampling begins: a draw of the prior, or images, or draws of x_t given images x_0.

    The last is SDEdit (Meng et al. 2022, Eq. 5): from t on, the reverse process runs as always.
    """
    if start_images is None:
        return sde.prior_sample(noise(START, 0, like))
    if are_states:
        return start_images
    return sde.alpha(t) * start_images + sde.sigma(t) * noise(START, 0, like)


def last_denoising(
    configured: Configured, sde: SDE, model: ScoreModel, x: Array
) -> tuple[Array, int]:
    """E[x_0 | x] at the last time, where that is asked for, and the evaluations it takes."""
    if not configured.denoises:
        return x, 0
    return tweedie(model, sde, x, configured.grid[-1]), 1


def at_once(
    configured: Configured, sde: SDE, shape: tuple[int, ...], start_are_states: bool
) -> BatchSampler:
    """A whole batch in one call."""
    grid = configured.grid

    def sample(
        model: Any, key: Array, indices: Array, start_images: Any
    ) -> tuple[Array, Array, Array]:
        noise = IndexedNoise.for_images(key, indices)
        like = jnp.zeros((indices.shape[0], *shape))
        x = first_state(sde, grid[0], start_images, noise, like, start_are_states)
        samples = configured.sampler(model, grid, noise, like, x)
        x, more = last_denoising(configured, sde, model, samples.x)
        nfe = jnp.broadcast_to(jnp.asarray(samples.nfe + more), indices.shape)
        return x, nfe, jnp.broadcast_to(samples.success, indices.shape)

    sample_all = jax.pmap(sample, axis_name=AXIS, in_axes=(None, None, 0, 0))

    def run(
        model: Any,
        key: Array,
        indices: np.ndarray,
        start_images: Any,
        tick: Callable[[float], None],
    ):
        result = jax.block_until_ready(sample_all(model, key, indices, start_images))
        tick(1.0)
        return result

    return run


def in_steps(
    configured: Configured, sde: SDE, shape: tuple[int, ...], start_are_states: bool
) -> BatchSampler:
    """A batch in calls of a few steps each."""
    sampler, grid = configured.sampler, configured.grid
    assert isinstance(sampler, SteppedSampler)
    num_steps = sampler.num_steps(grid)

    def start(key: Array, indices: Array, start_images: Any) -> Any:
        noise = IndexedNoise.for_images(key, indices)
        like = jnp.zeros((indices.shape[0], *shape))
        return sampler.begin(first_state(sde, grid[0], start_images, noise, like, start_are_states))

    def advance(model: Any, key: Array, indices: Array, first: Array, state: Any) -> Any:
        noise = IndexedNoise.for_images(key, indices)
        last = jnp.minimum(first + STEPS_PER_CALL, num_steps)
        return jax.lax.fori_loop(
            first, last, lambda k, state: sampler.step(model, grid, noise, k, state), state
        )

    def end(model: Any, indices: Array, state: Any) -> tuple[Array, Array, Array]:
        x, more = last_denoising(configured, sde, model, sampler.result(state))
        n = indices.shape[0]
        return x, jnp.full(n, sampler.nfe(num_steps) + more), jnp.full(n, True)

    start_all = jax.pmap(start, in_axes=(None, 0, 0))
    advance_all = jax.pmap(
        advance, axis_name=AXIS, in_axes=(None, None, 0, None, 0), donate_argnums=(4,)
    )
    end_all = jax.pmap(end, in_axes=(None, 0, 0))

    def run(
        model: Any,
        key: Array,
        indices: np.ndarray,
        start_images: Any,
        tick: Callable[[float], None],
    ):
        state = start_all(key, indices, start_images)
        for first in range(0, num_steps, STEPS_PER_CALL):
            state = jax.block_until_ready(advance_all(model, key, indices, first, state))
            tick(min(STEPS_PER_CALL, num_steps - first) / num_steps)
        return end_all(model, indices, state)

    return run
