"""Tests run on the CPU as four devices, and silent rank promotion is an error."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402  the platform is read when JAX is imported
import pytest  # noqa: E402

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Tests run small arrays once or twice: optimised code takes longer to compile than it saves.
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def x64():
    """float64 for one test; float32 arrays stay float32."""
    with jax.enable_x64(True):
        yield
