"""Images from a score model: the sampler that a config names, run over any number of images and devices."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from errors import UserError
from progress import progress_bar
from samplers.adaptive import AdaptiveSolver, Solver
from samplers.batches import check_batch_size, gather, index_batches
from samplers.correctors import CORRECTORS
from samplers.fixed_steps import GridSolver
from samplers.grids import build_grid
from samplers.noise import IndexedNoise
from samplers.ode import ProbabilityFlow
from samplers.predictor_corrector import PredictorCorrector
from samplers.predictors import PREDICTORS
from samplers.published import PublishedPredictorCorrector
from sde_lib import SDE

AXIS = "images"  # of the devices that share a batch
STEPS_PER_CALL = 20  # predictor-corrector steps between two updates of the progress bar


class Generated(NamedTuple):
    """Images of the process, (n, h, w, c) float32; evaluations an image took, averaged; wall-clock time."""

    x: np.ndarray
    nfe: float
    seconds: float


BatchSampler = Callable[
    [Any, Array, np.ndarray, Callable[[float], None]], tuple[Array, Array, Array]
]
"""(score model, key, indices (devices, b), tick) -> x (devices, b, h, w, c), nfe and success (devices, b).

`tick` is told the share of the batch's work that was just done."""


def predictor_corrector_batches(config: Any, sde: SDE, shape: tuple[int, ...]) -> BatchSampler:
    """Batches by the predictor-corrector sampler."""
    options = config.sampling
    sampler = PredictorCorrector(
        sde,
        predictor=PREDICTORS[options.pc.predictor],
        corrector=CORRECTORS[options.pc.corrector],
        snr=options.snr,
        corrector_steps=options.n_steps_each,
        noise_removal=options.noise_removal,
    )
    num_steps = options.pc.num_steps
    grid = build_grid(options.grid, sde, options.eps, num_steps)

    def finish(model: Any, x: Array) -> Array:
        return sampler.finish(model, x, grid[-1])

    return batches_of_steps(sampler, grid, num_steps, finish, sampler.nfe(num_steps), shape)


def published_sampler(config: Any, sde: SDE) -> PublishedPredictorCorrector:
    """The published sampler that `config.sampling` describes."""
    options = config.sampling
    return PublishedPredictorCorrector(
        sde,
        predictor=options.pc.predictor,
        corrector=options.pc.corrector,
        num_steps=options.pc.num_steps,
        snr=options.snr,
        corrector_steps=options.n_steps_each,
        noise_removal=options.noise_removal,
        axis_name=AXIS,
    )


def published_batches(config: Any, sde: SDE, shape: tuple[int, ...]) -> BatchSampler:
    """Batches by the published predictor-corrector sampler."""
    sampler = published_sampler(config, sde)
    times = sampler.times(config.sampling.eps)

    def finish(model: Any, state: Any) -> Array:
        del model
        return sampler.finish(state)

    return batches_of_steps(sampler, times, sampler.num_steps, finish, sampler.nfe, shape)


def batches_of_steps(
    sampler: Any,
    times: Array,
    num_steps: int,
    finish: Callable[[Any, Any], Array],
    nfe: int,
    shape: tuple[int, ...],
) -> BatchSampler:
    """Batches by a sampler of fixed steps, in calls of a few steps each so that progress shows.

    Args:
      sampler: with `start(noise, like) -> state` and `step(model, times, noise, k, state) -> state`.
      times: what every step is given.
      finish: (model, last state) -> x.
      nfe: evaluations of the score model that an image takes.
    """

    def start(key: Array, indices: Array) -> Any:
        like = jnp.zeros((indices.shape[0], *shape))
        return sampler.start(IndexedNoise.for_images(key, indices), like)

    def advance(model: Any, key: Array, indices: Array, first: Array, state: Any) -> Any:
        noise = IndexedNoise.for_images(key, indices)
        last = jnp.minimum(first + STEPS_PER_CALL, num_steps)
        return jax.lax.fori_loop(
            first, last, lambda k, state: sampler.step(model, times, noise, k, state), state
        )

    def end(model: Any, indices: Array, state: Any) -> tuple[Array, Array, Array]:
        n = indices.shape[0]
        return finish(model, state), jnp.full(n, nfe), jnp.full(n, True)

    start_all = jax.pmap(start, in_axes=(None, 0))
    advance_all = jax.pmap(
        advance, axis_name=AXIS, in_axes=(None, None, 0, None, 0), donate_argnums=(4,)
    )
    end_all = jax.pmap(end, in_axes=(None, 0, 0))

    def run(model: Any, key: Array, indices: np.ndarray, tick: Callable[[float], None]):
        state = start_all(key, indices)
        for first in range(0, num_steps, STEPS_PER_CALL):
            state = jax.block_until_ready(advance_all(model, key, indices, first, state))
            tick(min(STEPS_PER_CALL, num_steps - first) / num_steps)
        return end_all(model, indices, state)

    return run


def adaptive_solver(options: Any, sde: SDE) -> Solver:
    """With the tolerances of config.sampling; every device chooses its own step sizes."""
    del sde
    return AdaptiveSolver(options.ode.solver, options.ode.rtol, options.ode.atol)


def grid_solver(options: Any, sde: SDE) -> Solver:
    """Along the grid of config.sampling, in ode.num_steps steps."""
    grid = build_grid(options.grid, sde, options.eps, options.ode.num_steps)
    return GridSolver(options.ode.solver, (sde.T, *grid[1:-1].tolist(), options.eps))


ODE_STEPS: dict[str, Callable[[Any, SDE], Solver]] = {
    "adaptive": adaptive_solver,
    "grid": grid_solver,
}


def probability_flow_batches(config: Any, sde: SDE, shape: tuple[int, ...]) -> BatchSampler:
    """Batches by the probability-flow ODE."""
    options = config.sampling
    solver = ODE_STEPS[options.ode.steps](options, sde)
    sampler = ProbabilityFlow(sde, solver, options.noise_removal)

    def sample(model: Any, key: Array, indices: Array) -> tuple[Array, Array, Array]:
        like = jnp.zeros((indices.shape[0], *shape))
        samples = sampler(model, options.eps, IndexedNoise.for_images(key, indices), like)
        each = jnp.ones(indices.shape, jnp.int32)
        return samples.x, samples.nfe * each, samples.success & (each > 0)

    sample_all = jax.pmap(sample, in_axes=(None, None, 0))

    def run(model: Any, key: Array, indices: np.ndarray, tick: Callable[[float], None]):
        result = jax.block_until_ready(sample_all(model, key, indices))
        tick(1.0)
        return result

    return run


SAMPLERS: dict[str, Callable[[Any, SDE, tuple[int, ...]], BatchSampler]] = {
    "pc": predictor_corrector_batches,
    "pc_published": published_batches,
    "ode": probability_flow_batches,
}


def build_generator(config: Any, sde: SDE, shape: tuple[int, ...]) -> Callable[..., Generated]:
    """A function (score_model, num_images, seed, show=True) -> Generated for images of this shape (h, w, c).

    It compiles once, however often it is called. Image i of a seed is the same whatever the batch size, for
    "pc"; an adaptive solver shares its step size among the images of a device, and the published Langevin
    step among those of a batch.
    """
    check_batch_size(config.sampling.batch_size, "sampling.batch_size")
    run = SAMPLERS[config.sampling.sampler](config, sde, shape)

    def generate(score_model: Any, num_images: int, seed: int, show: bool = True) -> Generated:
        began = time.perf_counter()
        key = jax.random.key(seed)
        batches = []
        with progress_bar(num_images, "sampling", "image", show) as bar:
            batch_size = config.sampling.batch_size
            for indices, count in index_batches(num_images, batch_size, repeat_last=False):

                def tick(share: float, count: int = count) -> None:
                    bar.update(share * count)

                result = run(score_model, key, indices, tick)
                batches.append(gather(result, count))
        x, nfe, success = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        if not success.all() or not np.isfinite(x).all():
            bad = int((~success | ~np.isfinite(x).all(axis=(1, 2, 3))).sum())
            raise UserError(
                f"{bad} of {num_images} samples did not come out finite (sampler {config.sampling.sampler}); "
                "try more steps, looser tolerances, a smaller sampling.snr or a larger sampling.eps"
            )
        return Generated(x, float(nfe.mean()), time.perf_counter() - began)

    return generate
