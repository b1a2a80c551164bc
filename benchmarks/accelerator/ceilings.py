"""Limits of the machine: one large matrix product and one large copy, on random numbers."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from benchmarks.accelerator.ours import repeated
from benchmarks.accelerator.setting import PRECISIONS, SIZES, Row, Setting
from benchmarks.turns import Work, in_turns


def ceilings(setting: Setting) -> Iterator[Row]:
    """Yield the TFLOP/s of a matrix product in each precision, and the TB/s read and written by a copy."""
    side = SIZES[setting.size].matrix
    for precision in PRECISIONS:
        a, b = jax.random.normal(jax.random.key(0), (2, side, side), precision)
        rate = 2 * side**3 / median(setting, repeated(jax.jit(jnp.matmul), a, b)) / 1e12
        yield Row("ceilings", "matrix product", "XLA", precision, side, rate, "TFLOP/s")
    x = jax.random.normal(jax.random.key(0), (SIZES[setting.size].copied,))
    rate = 2 * x.nbytes / median(setting, repeated(jax.jit(lambda x: x + 1.0), x)) / 1e12
    yield Row("ceilings", "copy", "XLA", "float32", 1, rate, "TB/s")


def median(setting: Setting, work: Work) -> float:
    work(1)
    return in_turns({"it": work}, setting.block, setting.rounds, setting.clock)["it"].median
