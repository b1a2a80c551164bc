"""A configured sampler over the devices: in one call per batch, or in calls of a few steps so that progress shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from score_sde.devices import Devices
from score_sde.models.score import ScoreModel, bind, evaluations_of
from score_sde.samplers.noise import START, IndexedNoise, Noise
from score_sde.samplers.predictors import tweedie
from score_sde.samplers.problem import Configured
from score_sde.samplers.stepping import SteppedSampler
from score_sde.sde_lib import SDE

STEPS_PER_CALL = 20  # default number of steps between updates of the progress bar

Tick = Callable[[float], None]
"""Called with the fraction of the work just done."""
Drawn = tuple[Array, Array, Array, dict[str, Array]]
BatchSampler = Callable[[Any, Array, np.ndarray, Any, Any, Tick], Drawn]
"""(score model, key, indices (b,), condition, start images (b, h, w, c) or None, tick) -> x (b, h, w, c), nfe (network evaluations),
success (b,) and the sampler's own figures (b,) by name: takes this host's share of a batch, and returns results distributed over the devices.
"""


def batch_sampler(
    configured: Configured,
    sde: SDE,
    shape: tuple[int, ...],
    devices: Devices,
    are_states: bool = False,
    steps_per_call: int = STEPS_PER_CALL,
) -> BatchSampler:
    """Build the function that draws batches of images of this shape (h, w, c) with the configured sampler.

    For a sampler that is a loop, each call takes `steps_per_call` steps. A value of 1 avoids a loop around the step, in
    which the gradient of a convolution would be about 26 times slower on a CPU (jax#12868).
    """

    def start(key: Array, indices: Array, begin: Any) -> tuple[Array, IndexedNoise, Array]:
        return first_states(sde, configured.grid[0], shape, key, indices, begin, are_states)

    if isinstance(configured.sampler, SteppedSampler):
        drive_all = in_steps(configured, sde, devices, start, steps_per_call)
    else:
        drive_all = at_once(configured, sde, devices, start)

    def run(model: Any, key: Array, indices: np.ndarray, condition: Any, begin: Any, tick: Tick):
        return drive_all(model, key, devices.split((indices, condition, begin)), tick)

    return run


def first_state(
    sde: SDE, t: Array, begin: Array | None, noise: Noise, like: Array, are_states: bool
) -> Array:
    """The start state: a sample of the prior, the given states, or samples of x_t given images x_0.

    The last is SDEdit (Meng et al. 2022, Eq. 5): from t on, the reverse process runs as usual.
    """
    if begin is None:
        return sde.prior_sample(noise(START, 0, like))
    if are_states:
        return begin
    return sde.alpha(t) * begin + sde.sigma(t) * noise(START, 0, like)


def first_states(
    sde: SDE,
    t: Array,
    shape: tuple[int, ...],
    key: Array,
    indices: Array,
    begin: Any,
    are_states: bool,
) -> tuple[Array, IndexedNoise, Array]:
    """`first_state` of the images with these indices, their noise, and an array of their shape and dtype."""
    noise = IndexedNoise.for_images(key, indices)
    like = jnp.zeros((indices.shape[0], *shape))
    return first_state(sde, t, begin, noise, like, are_states), noise, like


def last_denoising(
    configured: Configured, sde: SDE, model: ScoreModel, x: Array
) -> tuple[Array, int]:
    """E[x_0 | x] at the last time if configured, otherwise x; and the number of evaluations this takes."""
    if not configured.denoises:
        return x, 0
    return tweedie(model, sde, x, configured.grid[-1]), 1


def at_once(configured: Configured, sde: SDE, devices: Devices, start: Any) -> Any:
    """A driver that runs a whole batch in one call."""

    def sample(model: Any, key: Array, indices: Array, condition: Any, begin: Any) -> Drawn:
        model = bind(model, condition)
        x, noise, like = start(key, indices, begin)
        samples = configured.sampler(model, configured.grid, noise, like, x)
        x, more = last_denoising(configured, sde, model, samples.x)
        nfe = jnp.asarray(samples.nfe + more) * evaluations_of(model)
        success = jnp.broadcast_to(samples.success, indices.shape)
        return x, jnp.broadcast_to(nfe, indices.shape), success, {}

    sample_all = devices.data_parallel(sample, (False, False, True, True, True))

    def run(model: Any, key: Array, batch: Any, tick: Tick) -> Any:
        result = jax.block_until_ready(sample_all(model, key, *batch))
        tick(1.0)
        return result

    return run


def in_steps(
    configured: Configured, sde: SDE, devices: Devices, start: Any, steps_per_call: int
) -> Any:
    """A driver that runs a batch in calls of a few steps each."""
    sampler, grid = configured.sampler, configured.grid
    assert isinstance(sampler, SteppedSampler)
    num_steps = sampler.num_steps(grid)

    def first(key: Array, indices: Array, begin: Any) -> Any:
        return sampler.begin(start(key, indices, begin)[0])

    def advance(
        model: Any, key: Array, indices: Array, condition: Any, first: Array, state: Any
    ) -> Any:
        noise, model = IndexedNoise.for_images(key, indices), bind(model, condition)
        if steps_per_call == 1:
            return sampler.step(model, grid, noise, first, state)
        last = jnp.minimum(first + steps_per_call, num_steps)
        return sampler.advance(model, grid, noise, first, last, state)

    def end(model: Any, indices: Array, condition: Any, state: Any) -> Drawn:
        model = bind(model, condition)
        x, more = last_denoising(configured, sde, model, sampler.result(state))
        n, nfe = indices.shape[0], (sampler.nfe(num_steps) + more) * evaluations_of(model)
        return x, jnp.full(n, nfe), jnp.full(n, True), sampler.figures(state)

    first_all = devices.data_parallel(first, (False, True, True))
    mapped = (False, False, True, True, False, True)
    advance_all = devices.data_parallel(advance, mapped, donate=(5,))
    end_all = devices.data_parallel(end, (False, True, True, True))

    def run(model: Any, key: Array, batch: Any, tick: Tick) -> Any:
        indices, condition, begin = batch
        state = first_all(key, indices, begin)
        for k in range(0, num_steps, steps_per_call):
            state = jax.block_until_ready(advance_all(model, key, indices, condition, k, state))
            tick(min(steps_per_call, num_steps - k) / num_steps)
        return end_all(model, indices, condition, state)

    return run
