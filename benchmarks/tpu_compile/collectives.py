"""What devices send each other in a compiled program, read from its text."""

from __future__ import annotations

import collections
import dataclasses
import math
import re

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# `%name = SHAPE KIND(...)`. Of one that is taken in two, its end has the shape of what came of it.
INSTRUCTION = re.compile(rf"= (\(.*\)|\S+) ({'|'.join(KINDS)})(?:-done)?\(")
ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)[a-z0-9]*)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Sent:
    """Of all instructions of a kind."""

    count: int
    bytes: int
    """Of their results on one device, without padding: of an all-reduce, what is summed."""


def collectives(hlo: str) -> dict[str, Sent]:
    """By kind, of HLO's text after optimisation. What stands in a loop's body counts once."""
    counts: collections.Counter[str] = collections.Counter()
    sizes: collections.Counter[str] = collections.Counter()
    for line in hlo.splitlines():
        if found := INSTRUCTION.search(line):
            shape, kind = found.groups()
            counts[kind] += 1
            sizes[kind] += shape_bytes(shape)
    return {kind: Sent(counts[kind], sizes[kind]) for kind in KINDS if counts[kind]}


def shape_bytes(shape: str) -> int:
    """Of an array such as f32[3,4]{1,0:T(8,128)}, or of all in a tuple."""
    return sum(
        math.prod(int(side) for side in sides.split(",") if side) * (int(bits or 8) // 8)
        for _, bits, sides in ARRAY.findall(shape)
    )
