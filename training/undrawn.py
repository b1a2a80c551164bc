"""Note on training times that are never drawn, although the weighting counts them.

A float32 uniform number lies between 2^-24 and 1 - 2^-24 (draws.py), so normally distributed times end 5.3 standard deviations from
their mean. Where the weighting is the density itself nothing is lost; otherwise the objective lacks the weights beyond.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from score_sde.progress import say
from score_sde.training.draws import LAST, SMALLEST
from score_sde.training.times import Times
from score_sde.training.weightings import Weighting

MOST = 0.02
"""The share of the weight from which on a note is printed."""
NODES = 1025


@runtime_checkable
class Weighted(Protocol):
    """A loss that is a weighted mean over times."""

    @property
    def times(self) -> Times: ...

    @property
    def weighting(self) -> Weighting: ...


def drawn_range(times: Times) -> tuple[float, float]:
    """Return the earliest and the latest time that float32 uniform numbers select."""
    first, last = times.at(jnp.asarray([SMALLEST, LAST], jnp.float32))
    return float(first), float(last)


def undrawn_share(times: Times, weighting: Weighting) -> float:
    """Return the share of the weight, integrated over uniform times, that lies outside `drawn_range`."""
    first, last = drawn_range(times)
    # Weights like 1/t have much of their integral near eps.
    grids = [space(times.eps, times.end, NODES) for space in (np.linspace, np.geomspace)]
    t = np.unique(np.concatenate([*grids, [first, last]]))
    t = np.clip(t, times.eps, times.end)
    w = np.asarray(weighting(jnp.asarray(t, jnp.float32)), float)
    of_step = 0.5 * (w[1:] + w[:-1]) * np.diff(t)
    middle = 0.5 * (t[1:] + t[:-1])
    return float(of_step[(middle < first) | (middle > last)].sum() / of_step.sum())


def say_undrawn(config: Any, loss: Any) -> None:
    """Print a note if more than MOST of the weight is at times that are never drawn."""
    training = config.training
    # With a learned uncertainty the density of times is itself the weight.
    complete = training.times == "uniform" or training.learned_uncertainty
    if complete or not isinstance(loss, Weighted):
        return
    share = undrawn_share(loss.times, loss.weighting)
    if share > MOST:
        first, last = drawn_range(loss.times)
        say(
            f"note: training.times={training.times!r} never draws times before t={first:.3g} or after t={last:.4g}, which have {share:.0%} of the "
            f"weight of training.weighting={training.weighting!r}: the network is not trained there. Set "
            f"training.times=uniform, or a larger training.{training.times}_std"
        )
