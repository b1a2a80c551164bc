"""Posterior draws across devices: draw d of D of image i is sample i D + d, and uses the noise of that sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_sde.devices import build_devices
from score_sde.generation.drivers import STEPS_PER_CALL, batch_sampler
from score_sde.generation.generate import REMEDIES, Generator
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
    """Build the generator of config.restore.draws posterior draws per image; it draws as --mode sample does."""
    devices, draws, n = build_devices(config), config.restore.draws, len(observed.y)
    loops = devices.platform != "cpu" or not (
        jacobian_products_of(score) or own_products(configured)
    )
    if not (loops or config.model.name == EXACT or isinstance(configured.sampler, SteppedSampler)):
        say(
            f"note: restore.method={config.restore.method!r} needs gradients, which are some 26 times slower in the loops of diffrax on a "
            "CPU; --sampler pc or edm takes its steps one by one"
        )

    if note := unbounded(config, space, configured, score):
        say(note)
    trained = build_condition_image(config) if METHODS[config.restore.method].trained else None
    tell = None if trained is None else jax.jit(trained.of_measured)
    key = stream_key(config.seed, Stream.OBSERVATION)

    def conditions(indices: np.ndarray) -> dict[str, np.ndarray]:
        which = np.minimum(indices // draws, n - 1)  # the last batch is padded
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
    work = "restoring", "draw"
    return Generator(run, devices, size, conditions, None, name, work, remedies(config, space))


def unbounded(config: Any, space: Space, configured: Configured, score: Any) -> str:
    """A note where gradients are taken through a network and nothing keeps the images in their range; empty otherwise.

    At large noise a network's Jacobian has large errors of either sign, which an exact score does not have.
    """
    follows = jacobian_products_of(score) or own_products(configured)
    if not follows or config.model.name == EXACT or bounded(config, space):
        return ""
    return (
        f"note: restore.method={config.restore.method!r} takes gradients through the network, and nothing keeps images within the range of the "
        "data: pixels may become enormous or not finite; set sampling.threshold=static"
    )


def bounded(config: Any, space: Space) -> bool:
    """Whether a threshold keeps the images in their range, or they have none."""
    return bool(space.range is None or config.sampling.threshold != "none")


def remedies(config: Any, space: Space) -> tuple[str, ...]:
    """What to try if draws are not finite, the most promising first."""
    threshold = () if bounded(config, space) else ("sampling.threshold=static",)
    scale = (
        ("a smaller restore.scale",) if "scale" in METHODS[config.restore.method].settings else ()
    )
    rest = [remedy for remedy in REMEDIES if not remedy.startswith("sampling.threshold")]
    return (*threshold, *scale, *rest)


def own_products(configured: Configured) -> int:
    """Vector-Jacobian products per draw that the sampler itself takes, in addition to those of its score."""
    sampler = configured.sampler
    if not isinstance(sampler, SteppedSampler):
        return 0
    return sampler.jacobian_products(sampler.num_steps(configured.grid))


def all_products(configured: Configured, score: Any, model: Any, nfe: float) -> float:
    """Vector-Jacobian products of the network per draw of `nfe` evaluations, those of the score and of the sampler.

    Each is a product with the Jacobian of `model`, with guidance, and so passes through all network evaluations of one call of it.
    """
    calls = nfe / evaluations_of(score)
    products = calls * jacobian_products_of(score) + own_products(configured)
    return evaluations_of(model) * products


def with_measured(measurement: Measurement) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function that replaces what was measured, x + A^+ (y - A x), in the draws x (L, h, w, c) of one noiseless y."""
    linear = spectral(measurement, "imputation")

    @jax.jit
    def put_in(y: Any, x: Any) -> Any:
        r = measurement.residual(jnp.broadcast_to(y[None], (len(x), *y.shape)), x)
        return x + linear.pseudo_inverse(r)

    return lambda y, x: np.asarray(put_in(jnp.asarray(y), jnp.asarray(x)))
