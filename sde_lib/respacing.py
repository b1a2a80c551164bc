"""Which levels of a chain a shorter one keeps, and its network as that one's (Nichol & Dhariwal 2021, Sec. 4)."""

from __future__ import annotations

import dataclasses
from itertools import accumulate
from typing import Any

import jax.numpy as jnp

from score_sde.errors import ConfigError
from score_sde.shapes import Images, Integers, Keys


def kept_levels(num_scales: int, text: str) -> tuple[int, ...]:
    """Which of num_scales levels `text` keeps, rising.

    "ddim25": every k-th, k the least stride that leaves 25 (Song et al. 2021a). "10,5,3": the levels in so many parts, the first ones
    a level longer where they do not divide, with so many of each kept, its ends among them and the others at even distance,
    rounded half to even.

    Raises:
      ConfigError: numbers that cannot be kept.
    """
    stride = text.startswith("ddim")
    try:
        counts = [int(part) for part in text.removeprefix("ddim").split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1 or (stride and len(counts) > 1):
        raise ConfigError(
            f"likelihood.chain_levels={text!r}: expected a number of levels, one for each of several parts as 10,5,3, or ddim25"
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
        f"likelihood.chain_levels={text!r}: no stride leaves {count} of {num_scales} levels; take another number from 2 on"
    )


def _spread(size: int, count: int) -> list[int]:
    """The first, the last and those between of 0 ... size - 1."""
    step = (size - 1) / (count - 1) if count > 1 else 1.0
    # A running sum in float64, as the published code makes it: the products round to other halves.
    places = accumulate([step] * (count - 1), initial=0.0)
    return [round(place) for place in places]


@dataclasses.dataclass(frozen=True)
class AtKeptLevels:
    """A score model of the whole chain, as one of the respaced chain: a network is asked at its own levels."""

    model: Any
    kept: tuple[int, ...]

    def at_level(self, x: Images, level: Integers, dropout_keys: Keys | None = None) -> Images:
        given = () if dropout_keys is None else (dropout_keys,)
        return self.model.at_level(x, jnp.asarray(self.kept)[level], *given)
