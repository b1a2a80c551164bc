"""Respacing a chain to fewer levels, and evaluating its network on them (Nichol & Dhariwal 2021, Sec. 4)."""

from __future__ import annotations

import dataclasses
from itertools import accumulate
from typing import Any

import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.shapes import Images, Integers, Keys


def kept_levels(num_scales: int, text: str) -> tuple[int, ...]:
    """The levels out of num_scales that `text` keeps, in increasing order.

    "ddim25" keeps every k-th level, where k is the smallest stride that leaves 25 (Song et al. 2021a). "10,5,3" splits the levels into three
    parts of equal length, the first ones longer by one if num_scales is not divisible, and keeps 10, 5 and 3 of them: the first and the last
    of each part, and evenly spaced ones between, rounded half to even.

    Raises:
      ConfigError: the text cannot be parsed, or asks for more levels than there are.
    """
    stride = text.startswith("ddim")
    try:
        counts = [int(part) for part in text.removeprefix("ddim").split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1 or (stride and len(counts) > 1):
        raise ConfigError(
            f"likelihood.chain_levels={text!r}: expected a number of levels, one number for each of several parts, such as 10,5,3, or ddim25"
        )
    if stride:
        return _strided(num_scales, counts[0], text)
    sizes = [num_scales // len(counts) + (i < num_scales % len(counts)) for i in range(len(counts))]
    starts = [0, *accumulate(sizes)][:-1]
    if any(count > size for count, size in zip(counts, sizes, strict=True)) or sum(counts) < 2:
        raise ConfigError(
            f"likelihood.chain_levels={text!r}: expected 2 or more in all, and in each part at most its {min(sizes)} of the "
            f"{num_scales} levels"
        )
    parts = zip(starts, sizes, counts, strict=True)
    return tuple(start + place for start, size, count in parts for place in _spread(size, count))


def _strided(num_scales: int, count: int, text: str) -> tuple[int, ...]:
    for stride in range(1, num_scales):
        if len(range(0, num_scales, stride)) == count >= 2:
            return tuple(range(0, num_scales, stride))
    raise ConfigError(
        f"likelihood.chain_levels={text!r}: no stride leaves {count} of {num_scales} levels; use another number, 2 or more"
    )


def _spread(size: int, count: int) -> list[int]:
    """`count` evenly spaced integers from 0 to size - 1, ends included."""
    step = (size - 1) / (count - 1) if count > 1 else 1.0
    # A running sum in float64 as in the published code; products would round differently at halves.
    places = accumulate([step] * (count - 1), initial=0.0)
    return [round(place) for place in places]


@dataclasses.dataclass(frozen=True)
class AtKeptLevels:
    """A score model of the whole chain, seen as one of the respaced chain: level j is evaluated at level kept[j]."""

    model: Any
    kept: tuple[int, ...]

    def at_level(self, x: Images, level: Integers, dropout_keys: Keys | None = None) -> Images:
        given = () if dropout_keys is None else (dropout_keys,)
        return self.model.at_level(x, jnp.asarray(self.kept)[level], *given)
