"""The same network in PyTorch (benchmarks/peers) as works to be timed beside ours; none where it is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

from benchmarks.turns import Work


def installed() -> bool:
    return importlib.util.find_spec("torch") is not None


def training_works(config: Any, batch: int) -> dict[str, Work]:
    return {}


def forward_works(config: Any, batch: int) -> dict[str, Work]:
    return {}


def divergence_works(config: Any, batch: int) -> dict[str, Work]:
    return {}


def peak_memory() -> Iterator[tuple[str, float]]:
    yield from ()
