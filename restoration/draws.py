"""Posterior draws over the devices: draw d of image i is number i D + d of all, and has that number's noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.devices import build_devices
from score_sde.generation.drivers import STEPS_PER_CALL, batch_sampler
from score_sde.generation.generate import Generator
from score_sde.guidance.posterior import jacobian_products_of
from score_sde.keys import Stream, stream_key
from score_sde.measurements.condition_image import build_condition_image
from score_sde.measurements.measurement import Measurement, spectral
from score_sde.models.score import evaluations_of
from score_sde.progress import say
from score_sde.restoration.methods import METHODS, sampler_name
from score_sde.restoration.observed import Observed
from score_sde.samplers.problem import Configured
from score_sde.samplers.stepping import SteppedSampler
from score_sde.sde_lib import SDE
from score_sde.spaces import Space
from score_sde.training.trained_score import EXACT


def build_drawer(
    config: Any, sde: SDE, space: Space, configured: Configured, observed: Observed, score: Any
) -> Generator:
    """What draws config.restore.draws of each image, as --mode sample draws images."""
    devices, draws, n = build_devices(config), config.restore.draws, len(observed.y)
    loops = devices.platform != "cpu" or not (
        jacobian_products_of(score) or own_products(configured)
    )
    if not (loops or config.model.name == EXACT or isinstance(configured.sampler, SteppedSampler)):
        say(
            f"note: restore.method={config.restore.method!r} takes gradients, which in the loops of diffrax are some 26 times slower on a "
            "CPU; --sampler pc or edm takes its steps one by one"
        )

    trained = build_condition_image(config) if METHODS[config.restore.method].trained else None
    tell = None if trained is None else jax.jit(trained.of_measured)
    key = stream_key(config.seed, Stream.OBSERVATION)

    def conditions(indices: np.ndarray) -> dict[str, np.ndarray]:
        which = np.minimum(indices // draws, n - 1)  # a last batch is filled up
        condition = observed.condition(which)
        if tell is None:
            return {"measured": observed.y[which], **condition}
        return jax.device_get(tell(observed.y[which], condition, key, indices))

    run = batch_sampler(
        configured, sde, space.shape, devices, steps_per_call=STEPS_PER_CALL if loops else 1
    )
    name = sampler_name(config)
    if name != config.restore.method:
        name += f", restore.method={config.restore.method}"
    size = config.sampling.batch_size
    return Generator(run, devices, size, conditions, None, name, ("restoring", "draw"))


def own_products(configured: Configured) -> int:
    """Products with the model's Jacobian that a draw costs beside those of its score."""
    sampler = configured.sampler
    if not isinstance(sampler, SteppedSampler):
        return 0
    return sampler.jacobian_products(sampler.num_steps(configured.grid))


def all_products(configured: Configured, score: Any, model: Any, nfe: float) -> float:
    """Products with the network's Jacobian that a draw costs, of so many evaluations: the score's and the sampler's.

    Each is one with the Jacobian of `model`, the guided one, and goes back through every evaluation that a call of it takes.
    """
    calls = nfe / evaluations_of(score)
    products = calls * jacobian_products_of(score) + own_products(configured)
    return evaluations_of(model) * products


def with_measured(measurement: Measurement) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """x + A^+ (y - A x) of draws (L, h, w, c) of one y: what was measured without noise, put in."""
    linear = spectral(measurement, "imputation")

    @jax.jit
    def put_in(y: Any, x: Any) -> Any:
        r = measurement.residual(jnp.broadcast_to(y[None], (len(x), *y.shape)), x)
        return x + linear.pseudo_inverse(r)

    return lambda y, x: np.asarray(put_in(jnp.asarray(y), jnp.asarray(x)))
