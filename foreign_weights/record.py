"""The content of a published checkpoint, independent of its format, and its conversion to and from a TrainState."""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from score_sde.devices import replicated
from score_sde.errors import UserError
from score_sde.quoting import quoted
from score_sde.training.state import TrainState

MAX_STEP = 2**31 - 1  # steps are int32 here


class Moments(NamedTuple):
    """Adam's moments, as trees like the parameters."""

    updates: int  # number of updates that they average
    mu: Any  # average of the gradient
    nu: Any  # average of its square


class Record(NamedTuple):
    """A training state in NumPy arrays, with our names and layouts."""

    format: str
    step: int
    params: Any
    ema_params: Any
    moments: Moments | None  # None if the file has none
    ema_rate: float
    notes: tuple[str, ...] = ()  # messages on what was done with the file's arrays
    lacks_no_class: str = ""  # the class embedding of the file, if it has no vector for "no class"


def entry(contents: Any, *path: str) -> Any:
    """The entry at a path: `contents["a"]["b"]` for the path a, b.

    Raises:
      UserError: there is no such entry.
    """
    for depth, name in enumerate(path):
        if not isinstance(contents, dict) or name not in contents:
            names = islice(contents, 10) if isinstance(contents, dict) else ["no names"]
            found = ", ".join(map(str, names))
            raise UserError(
                f"the file has no {'.'.join(path[: depth + 1])}, so it is not a checkpoint of the published training (optimizer, model, "
                f"ema, step); found instead: {found[:200]}"
            )
        contents = contents[name]
    return contents


def check_float32(arrays: dict[str, Any]) -> None:
    """Refuse arrays (anything with a dtype, by name) that float32 would not hold bit for bit.

    Raises:
      UserError: with the name of the first such array.
    """
    for name, array in arrays.items():
        if np.dtype(array.dtype) != np.float32:
            raise UserError(
                f"{name} of the file is {np.dtype(array.dtype)}, but published networks are float32 throughout"
            )


def check_count(name: str, value: Any) -> int:
    """Check that a value is a number of steps, and return it as an int.

    Raises:
      UserError: it is not an integer from 0 to MAX_STEP.
    """
    try:
        count = int(value)
    except (TypeError, ValueError, OverflowError):
        count = -1
    if not (0 <= count <= MAX_STEP and count == value):
        raise UserError(f"{name} of the file is {quoted(value)}; expected a number of steps")
    return count


def check_values(record: Record) -> Record:
    """Return the record, if its values can result from training.

    Raises:
      UserError: weights or moments that are not finite, negative squares, or an EMA decay outside [0, 1).
    """
    named = {"model": record.params, "ema": record.ema_params}
    if record.moments is not None:
        named |= {"exp_avg": record.moments.mu, "exp_avg_sq": record.moments.nu}
    for name, tree in named.items():
        least = 0.0 if name == "exp_avg_sq" else -np.inf
        for path, array in jax.tree_util.tree_leaves_with_path(tree):
            bad = ~(np.isfinite(array) & (array >= least))
            if bad.any():
                raise UserError(
                    f"{name}{jax.tree_util.keystr(path)} of the file has {bad.sum()} of {bad.size} values that no training produces, the "
                    f"first of them {np.asarray(array)[bad][0]}: the run had diverged, or the file is damaged; use an earlier one"
                )
    if not 0 <= record.ema_rate < 1:
        raise UserError(
            f"the decay of the file's averaged weights is {record.ema_rate}; expected 0 <= decay < 1, such as 0.9999"
        )
    return record


def to_state(record: Record, optimizer: optax.GradientTransformation) -> TrainState:
    """The TrainState, on all devices, from which training continues after `record.step` updates.

    Without moments Adam starts afresh, including its bias correction. The learning rate does not: its warmup is that of
    the original run.
    """
    # Without `jit` a program would be compiled for every array shape.
    clip, adam, decay, rate = jax.jit(optimizer.init)(record.params)  # training/optimizer.py
    if record.moments is not None:
        updates, mu, nu = record.moments
        adam = adam._replace(count=np.int32(updates), mu=mu, nu=nu)
    step: Any = np.int32(record.step)
    opt_state = (clip, adam, decay, rate._replace(count=step))
    state = TrainState(step, record.params, record.ema_params, opt_state)
    return jax.device_put(state, replicated())


def from_state(state: TrainState, ema_rate: float) -> Record:
    """The inverse of `to_state`."""
    state = jax.device_get(state)
    _clip, adam, _decay, _rate = state.opt_state
    moments = Moments(int(adam.count), adam.mu, adam.nu)
    return Record("checkpoint", int(state.step), state.params, state.ema_params, moments, ema_rate)
