"""Latents of images by the probability-flow ODE, and the path from one latent to another.

The latent of an image is x_T, the end of its trajectory

    dx/dt = f(t) x - g(t)^2/2 score(x, t)

from eps up to T. The same equation solved back down from x_T gives the image again, up to the error of the solver.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from score_sde.errors import ConfigError
from score_sde.samplers.noise import IndexedNoise
from score_sde.samplers.record import Sampler, Samples


def encode(sampler: Sampler, grid: Array, model: Any, x: Array) -> Samples:
    """Solve the ODE from images x (b, ...) at the last time of the grid up to their latents at its first."""
    return sampler(model, grid[::-1], _unused_noise(x), x, x)


def decode(sampler: Sampler, grid: Array, model: Any, latents: Array) -> Samples:
    """Solve the ODE from latents (b, ...) at the first time of the grid down to images at its last."""
    return sampler(model, grid, _unused_noise(latents), latents, latents)


def _unused_noise(x: Array) -> IndexedNoise:
    """Noise for `x`, which every sampler requires, but an ODE does not use."""
    return IndexedNoise.for_images(jax.random.key(0), jnp.arange(len(x)))


def check_whole(sampling: Any, what: str) -> None:
    """Refuse options that change samples and have no place in encoding and decoding, which `what` does.

    Raises:
      ConfigError: says what was given, and what to do.
    """
    plain = {"threshold": "none", "one_by_one": False, "t_start": 0.0, "start_images": ""}
    for name, nothing in plain.items():
        if sampling[name] != nothing:
            raise ConfigError(
                f"sampling.{name}={sampling[name]!r} with {what}: the ODE encodes and decodes images with the unmodified score; leave it out"
            )


def slerp(first: Array, second: Array, weight: Array) -> Array:
    """Spherical interpolation of two arrays (Shoemake 1985).

    [sin((1 - w) theta) first + sin(w theta) second] / sin(theta), with theta the angle between them. Between draws of N(0, I) the
    norm stays typical of such draws, whereas a straight line would pass near the origin. Nearly parallel arrays are interpolated
    linearly.
    """
    norms = jnp.linalg.norm(first) * jnp.linalg.norm(second)
    theta = jnp.arccos(jnp.clip(jnp.vdot(first, second) / norms, -1.0, 1.0))
    sine = jnp.sin(theta)
    parallel = sine < 1e-4
    safe = jnp.where(parallel, 1.0, sine)
    a = jnp.where(parallel, 1.0 - weight, jnp.sin((1.0 - weight) * theta) / safe)
    b = jnp.where(parallel, weight, jnp.sin(weight * theta) / safe)
    return a * first + b * second
