"""What training carries from step to step, and nothing else does: a checkpoint is exactly this."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import Array

from score_sde.data.image_shape import image_shape
from score_sde.keys import Stream, stream_key
from score_sde.shapes import check_shape


@flax.struct.dataclass
class TrainState:
    """There is no random state: every draw is a function of (seed, step, image), see score_sde/keys.py."""

    step: Array  # int32 scalar: updates made so far
    params: Any
    ema_params: Any
    opt_state: Any
    averages: Any = flax.struct.field(default_factory=dict)
    """Power-function averages: str(sigma_rel) -> parameters (power_average.py)."""
    history: Any = ()
    """A LossHistory, by which times are drawn (loss_history.py); () for none."""


def parts(state: TrainState) -> dict[str, Any]:
    """By name, without averages and history where none are kept: the checkpoints of such runs are those of before there were any."""
    found = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {
        name: part
        for name, part in found.items()
        if name not in ("averages", "history") or jax.tree.leaves(part)
    }


def init_params(config: Any, network: Any) -> Any:
    """The network's first parameters, a function of config.seed; for shapes only: `jax.eval_shape` of it.

    Real numbers are float32, whatever the network and JAX_ENABLE_X64 say.

    Raises:
      UserError: a network whose output has another shape than the images.
    """
    x = jnp.zeros((1, *image_shape(config.data)), jnp.float32)
    # Any noise level does for the shapes; 1 is one whose logarithm exists.
    key = stream_key(config.seed, Stream.INIT)
    out, variables = network.init_with_output({"params": key}, x, jnp.ones(1, jnp.float32))
    channels = x.shape[-1] * (1 + getattr(network, "learned_variance", False))
    expected = (*x.shape[:-1], channels)
    check_shape(f"the output of {type(network).__name__}", out.shape, expected)

    def single(p: Array) -> Array:
        return p.astype(jnp.float32) if jnp.issubdtype(p.dtype, jnp.floating) else p

    return jax.tree.map(single, variables["params"])


def init_state(config: Any, network: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first update of a network."""
    return first_state(init_params(config, network), optimizer)


def first_state(
    params: Any,
    optimizer: optax.GradientTransformation,
    widths: Iterable[float] = (),
    history: Any = (),
) -> TrainState:
    """The state before the first update; the averages, also the power-function ones of these widths, start at the parameters."""

    def average() -> Any:
        # Its own buffer: the state is donated, and one buffer cannot be given away twice.
        return jax.tree.map(jnp.copy, params)

    averages = {str(float(width)): average() for width in widths}
    opt_state = optimizer.init(params)
    return TrainState(jnp.zeros((), jnp.int32), params, average(), opt_state, averages, history)


def ema_rate(config: Any, step: Array) -> Array:
    """The decay r of the update that follows `step` updates.

    With `model.ema_warmup` it is warmed up, so that the average of a short run is not held back by its first weights
    (score_sde_pytorch; the JAX original has a constant r).
    """
    rate = jnp.asarray(config.model.ema_rate, jnp.float32)
    return warmed_up(rate, step) if config.model.ema_warmup else rate


def warmed_up(rate: Array | float, step: Array) -> Array:
    """min(rate, (1 + n) / (10 + n)) for the update n = step + 1."""
    n = (step + 1).astype(jnp.float32)
    return jnp.minimum(rate, (1.0 + n) / (10.0 + n))


def update_ema(ema_params: Any, params: Any, rate: Array | float) -> Any:
    """p_ema + (1 - r)(p - p_ema).

    Written so, a parameter that does not move has an average that does not move: in r p_ema + (1 - r) p the
    two rounded products need not add up to p, and a frozen parameter would drift.
    """
    return moved(ema_params, params, 1.0 - rate)


def moved(averaged: Any, params: Any, gain: Array | float) -> Any:
    """The average that much of the way to the parameters."""
    return jax.tree.map(lambda ema, p: ema + gain * (p - ema), averaged, params)
