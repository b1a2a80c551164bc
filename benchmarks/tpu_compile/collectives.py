"""Communication between devices in a compiled program, parsed from its HLO text."""

from __future__ import annotations

import collections
import dataclasses
import math
import re

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# `%name = SHAPE KIND(...)`. Of an asynchronous pair only KIND-done is matched, which has the shape of the result.
INSTRUCTION = re.compile(rf"= (\(.*\)|\S+) ({'|'.join(KINDS)})(?:-done)?\(")
ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)[a-z0-9]*)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Sent:
    """Count and size of all collectives of one kind."""

    count: int
    bytes: int
    """Bytes of their results on one device, without padding; for an all-reduce, of the array that is summed."""


def collectives(hlo: str) -> dict[str, Sent]:
    """The collectives by kind in optimized HLO text. The body of a loop counts once."""
    counts: collections.Counter[str] = collections.Counter()
    sizes: collections.Counter[str] = collections.Counter()
    for line in hlo.splitlines():
        if found := INSTRUCTION.search(line):
            shape, kind = found.groups()
            counts[kind] += 1
            sizes[kind] += shape_bytes(shape)
    return {kind: Sent(counts[kind], sizes[kind]) for kind in KINDS if counts[kind]}


def shape_bytes(shape: str) -> int:
    """Bytes of an array shape such as f32[3,4]{1,0:T(8,128)}, or of all arrays in a tuple."""
    return sum(
        math.prod(int(side) for side in sides.split(",") if side) * (int(bits or 8) // 8)
        for _, bits, sides in ARRAY.findall(shape)
    )
