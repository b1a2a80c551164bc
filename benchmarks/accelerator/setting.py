"""What the stages measure on: networks of published size, or tiny ones that run anywhere; and what they find, in rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from benchmarks.command import load_config

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


class Setting(NamedTuple):
    """How large, and how long."""

    tiny: bool
    block: float
    """Seconds of a block of timings."""
    rounds: int

    def config(self, variant: str = "ddpmpp", dtype: str = "float32") -> ConfigDict:
        """Of configs/vp_cifar.py."""
        config = load_config(f"configs/vp_cifar.py:{variant}")
        config.model.dtype = dtype
        if self.tiny:
            config.data.image_size = 4
            config.model.update(nf=8, ch_mult=(1,), num_res_blocks=1, attn_resolutions=())
        return config

    def batch(self, of_published_size: int) -> int:
        return 4 if self.tiny else of_published_size


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
