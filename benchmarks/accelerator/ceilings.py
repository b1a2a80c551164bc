"""What the machine itself can do: one large matrix product and one large copy, on random numbers."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from benchmarks.accelerator.ours import repeated
from benchmarks.accelerator.setting import PRECISIONS, Row, Setting
from benchmarks.turns import in_turns

SIDE = 8192  # of the matrices
COPIED = 2**30  # numbers, in 4 GiB


def ceilings(setting: Setting) -> Iterator[Row]:
    """TFLOP/s of a matrix product in each precision, and TB/s read and written by a copy."""
    side = 128 if setting.tiny else SIDE
    for precision in PRECISIONS:
        a, b = jax.random.normal(jax.random.key(0), (2, side, side), precision)
        timing = in_turns({"product": repeated(jax.jit(jnp.matmul), a, b)}, setting.block, 3)
        rate = 2 * side**3 / timing["product"].median / 1e12
        yield Row("ceilings", "matrix product", "XLA", precision, side, rate, "TFLOP/s")
    x = jax.random.normal(jax.random.key(0), (COPIED >> (16 if setting.tiny else 0),))
    timing = in_turns({"copy": repeated(jax.jit(lambda x: x + 1.0), x)}, setting.block, 3)
    rate = 2 * x.nbytes / timing["copy"].median / 1e12
    yield Row("ceilings", "copy", "XLA", "float32", 1, rate, "TB/s")
