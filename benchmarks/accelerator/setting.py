"""What the stages measure on: networks of published size, reduced ones for CPUs, or tiny ones; and what they find, in rows."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from benchmarks.turns import Clock
from score_sde.config_file import load_config

PRECISIONS = ("bfloat16", "float32")
"""The latter with products in TF32 on cards that have it."""


class Row(NamedTuple):
    """One figure."""

    stage: str
    measure: str
    who: str
    """ours, or the program beside it."""
    precision: str
    batch: int
    value: float
    unit: str


class Size(NamedTuple):
    """Of networks and batches."""

    data: dict[str, Any]
    model: dict[str, Any]
    """What differs from configs/vp_cifar.py."""
    largest_batch: int
    matrix: int
    """Rows of the matrices whose product is a limit."""
    copied: int
    """Numbers of the copy that is another."""
    fast: str
    """The dtype that is measured where one is enough."""


SIZES = {
    "published": Size({}, {}, 1 << 30, 8192, 1 << 30, "bfloat16"),
    # A training step of some seconds of a CPU's core, where bfloat16 is emulated.
    "reduced": Size(
        {}, {"nf": 64, "ch_mult": (1, 2, 2), "num_res_blocks": 2}, 8, 1024, 1 << 26, "float32"
    ),
    "tiny": Size(
        {"image_size": 4},
        {"nf": 8, "ch_mult": (1,), "num_res_blocks": 1, "attn_resolutions": ()},
        4,
        128,
        1 << 14,
        "bfloat16",
    ),
}


class Setting(NamedTuple):
    """How large, and how long."""

    size: str
    """Among SIZES."""
    block: float
    """Seconds of a block of timings."""
    rounds: int
    clock: Clock = time.perf_counter

    def config(self, variant: str = "ddpmpp", dtype: str = "float32") -> ConfigDict:
        """Of configs/vp_cifar.py."""
        config = load_config(f"configs/vp_cifar.py:{variant}")
        config.model.dtype = dtype
        config.data.update(SIZES[self.size].data)
        config.model.update(SIZES[self.size].model)
        return config

    def batch(self, of_published_size: int) -> int:
        return min(of_published_size, SIZES[self.size].largest_batch)

    @property
    def tiny(self) -> bool:
        return self.size == "tiny"

    @property
    def fast(self) -> str:
        return SIZES[self.size].fast


def images(config: Any, count: int) -> jax.Array:
    """Normal numbers: zeros would be multiplied faster than anything real."""
    side, channels = config.data.image_size, config.data.num_channels
    return jax.random.normal(jax.random.key(1), (count, side, side, channels))


def times(count: int) -> jax.Array:
    return jnp.linspace(0.01, 1.0, count)


def peak_memory() -> float | None:
    """Of JAX's arrays and programs on the first device so far, in GiB; None where the device does not tell."""
    statistics = jax.devices()[0].memory_stats() or {}
    peak = statistics.get("peak_bytes_in_use")
    return None if peak is None else peak / 2**30
