"""Tests run on the CPU as four devices, and silent rank promotion is an error."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402  the platform is read when JAX is imported
import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

from tests.shape_checks import CHECKED  # noqa: E402

install_import_hook([f"score_sde.{part}" for part in CHECKED], "tests.shape_checks.check")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Tests run small arrays once or twice: optimised code takes longer to compile than it saves.
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_code():
    """Free a module's programs at its end.

    Every executable holds memory maps, and a process may have 65,530 of them (Linux's vm.max_map_count). The
    whole suite in one worker, which is what a machine of one physical core gets, needs more, and XLA then
    aborts the process in the midst of a compilation.
    """
    yield
    jax.clear_caches()


@pytest.fixture
def x64():
    """float64 for one test; float32 arrays stay float32."""
    with jax.enable_x64(True):
        yield
