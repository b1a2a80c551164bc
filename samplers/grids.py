"""Time grids: decreasing times from T to eps, shared by every sampler that takes fixed steps."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array


def uniform_grid(t_start: float, t_end: float, num_steps: int) -> Array:
    """num_steps + 1 equally spaced times from t_start down to t_end, both included."""
    return jnp.linspace(t_start, t_end, num_steps + 1)
