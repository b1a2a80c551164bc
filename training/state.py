"""The training state: everything carried from one step to the next, and exactly what a checkpoint holds."""

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
    """Parameters, their averages and the optimizer state after a number of updates.

    There is no random state: every random draw is a function of (seed, step, image), see score_sde/keys.py.
    """

    step: Array  # int32 scalar: updates made so far
    params: Any
    ema_params: Any
    opt_state: Any
    averages: Any = flax.struct.field(default_factory=dict)
    """Power-function averages, str(sigma_rel) -> parameters (power_average.py)."""
    history: Any = ()
    """The LossHistory from which training times are sampled (loss_history.py); () if unused."""


def parts(state: TrainState) -> dict[str, Any]:
    """Return the fields of the state by name, leaving out `averages` and `history` if they are empty.

    Leaving them out keeps the checkpoints of such runs identical to those written before these fields existed.
    """
    found = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {
        name: part
        for name, part in found.items()
        if name not in ("averages", "history") or jax.tree.leaves(part)
    }


def init_params(config: Any, network: Any) -> Any:
    """Initialize the network's parameters from config.seed; use `jax.eval_shape` to get their shapes only.

    Floating-point parameters are float32, regardless of the network's dtype and of JAX_ENABLE_X64.

    Raises:
      UserError: the network's output does not have the shape of the images.
    """
    x = jnp.zeros((1, *image_shape(config.data)), jnp.float32)
    # Any noise level gives the right shapes; the logarithm of 1 is finite.
    key = stream_key(config.seed, Stream.INIT)
    out, variables = network.init_with_output({"params": key}, x, jnp.ones(1, jnp.float32))
    channels = x.shape[-1] * (1 + getattr(network, "learned_variance", False))
    expected = (*x.shape[:-1], channels)
    check_shape(f"the output of {type(network).__name__}", out.shape, expected)

    def single(p: Array) -> Array:
        return p.astype(jnp.float32) if jnp.issubdtype(p.dtype, jnp.floating) else p

    return jax.tree.map(single, variables["params"])


def init_state(config: Any, network: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """Initialize a network's parameters and return the state before the first update."""
    return first_state(init_params(config, network), optimizer)


def first_state(
    params: Any,
    optimizer: optax.GradientTransformation,
    widths: Iterable[float] = (),
    history: Any = (),
) -> TrainState:
    """Return the state before the first update, given the initial parameters.

    All averages, including a power-function average for each of `widths`, start at the parameters.
    """

    def average() -> Any:
        # A separate buffer for each: the state is donated, and a buffer cannot be donated twice.
        return jax.tree.map(jnp.copy, params)

    averages = {str(float(width)): average() for width in widths}
    opt_state = optimizer.init(params)
    return TrainState(jnp.zeros((), jnp.int32), params, average(), opt_state, averages, history)


def ema_rate(config: Any, step: Array) -> Array:
    """Return the EMA decay r for the update after `step` updates.

    With `model.ema_warmup` the decay is warmed up, so that the average in a short run is not dominated by the initial
    weights (as in score_sde_pytorch; the JAX original has a constant r).
    """
    rate = jnp.asarray(config.model.ema_rate, jnp.float32)
    return warmed_up(rate, step) if config.model.ema_warmup else rate


def warmed_up(rate: Array | float, step: Array) -> Array:
    """Return min(rate, (1 + n) / (10 + n)) for update number n = step + 1."""
    n = (step + 1).astype(jnp.float32)
    return jnp.minimum(rate, (1.0 + n) / (10.0 + n))


def update_ema(ema_params: Any, params: Any, rate: Array | float) -> Any:
    """Return the updated EMA, p_ema + (1 - r)(p - p_ema).

    In this form the average of a constant parameter stays constant. In the form r p_ema + (1 - r) p the two rounded
    products need not add up to p, and the average of a frozen parameter would drift.
    """
    return moved(ema_params, params, 1.0 - rate)


def moved(averaged: Any, params: Any, gain: Array | float) -> Any:
    """Move the average towards the parameters by the fraction `gain`."""
    return jax.tree.map(lambda ema, p: ema + gain * (p - ema), averaged, params)
