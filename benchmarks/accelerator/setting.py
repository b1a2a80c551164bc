"""Settings of the stages (networks of published size, reduced for CPUs, or tiny), and the rows of their results."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from benchmarks.turns import Clock
from score_sde.config_file import load_config

PRECISIONS = ("bfloat16", "float32")
"""float32 uses TF32 matrix products on GPUs that support it."""


class Row(NamedTuple):
    """One measured value."""

    stage: str
    measure: str
    who: str
    """`ours`, or the program compared with it."""
    precision: str
    batch: int
    value: float
    unit: str


class Size(NamedTuple):
    """Sizes of networks and batches."""

    data: dict[str, Any]
    model: dict[str, Any]
    """Fields of the model that differ from configs/vp_cifar.py."""
    largest_batch: int
    matrix: int
    """Rows of the square matrices whose product is timed as a limit."""
    copied: int
    """Numbers in the array whose copy is timed as a limit."""
    fast: str
    """The dtype of stages that measure a single one."""


SIZES = {
    "published": Size({}, {}, 1 << 30, 8192, 1 << 30, "bfloat16"),
    # A training step takes a few seconds of a CPU core; float32 because CPUs emulate bfloat16.
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
    """The size of networks and batches, and the length of timings."""

    size: str
    """A name of SIZES."""
    block: float
    """Seconds of a block of timings."""
    rounds: int
    clock: Clock = time.perf_counter

    def config(self, variant: str = "ddpmpp", dtype: str = "float32") -> ConfigDict:
        """The config of a variant of configs/vp_cifar.py in this size."""
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
    """Standard normal images: multiplying zeros would be faster than real data."""
    side, channels = config.data.image_size, config.data.num_channels
    return jax.random.normal(jax.random.key(1), (count, side, side, channels))


def times(count: int) -> jax.Array:
    return jnp.linspace(0.01, 1.0, count)


def peak_memory() -> float | None:
    """Peak memory of JAX on the first device so far, in GiB; None if the device does not report it."""
    statistics = jax.devices()[0].memory_stats() or {}
    peak = statistics.get("peak_bytes_in_use")
    return None if peak is None else peak / 2**30
