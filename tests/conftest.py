"""Tests run on the CPU as four devices, and silent rank promotion is an error."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402  the platform is read when JAX is imported

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
