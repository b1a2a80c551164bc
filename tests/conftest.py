"""Tests run on the CPU as four devices, and silent rank promotion is an error."""

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path

import jaxlib

os.environ["JAX_PLATFORMS"] = "cpu"
# Each program is compiled whole: cut into parts for several threads, as XLA does unless told otherwise, the program of a network costs a
# third more CPU time, and the workers keep all cores busy anyway. Commands that tests start inherit it.
flags = ["--xla_cpu_parallel_codegen_split_count=1"]
if jaxlib.version.__version_info__ < (0, 11):
    # XLA's older code generator, which compiles in two thirds of the time; jaxlib 0.11 has only the newer one. The arrays
    # are too small for the difference between the two to matter.
    flags.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *flags])

os.environ.setdefault("EQX_ON_ERROR", "nan")  # as main.py does, which says why

# The commands of a session share compiled programs in a folder of its own, which the first process makes and removes: nothing of earlier
# code is read, nothing of the user's touched. What tests compile themselves is not kept: hardly any two compile the same.
if "SCORE_SDE_TEST_PROGRAMS" not in os.environ:
    session = tempfile.mkdtemp(prefix="score_sde_programs_")
    atexit.register(shutil.rmtree, session, ignore_errors=True)
    os.environ["SCORE_SDE_TEST_PROGRAMS"] = os.environ["JAX_COMPILATION_CACHE_DIR"] = session

import jax  # noqa: E402  the platform and the flags are read when JAX is imported
import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

from tests.shape_checks import CHECKED  # noqa: E402

install_import_hook([f"score_sde.{part}" for part in CHECKED], "tests.shape_checks.check")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Tests run small arrays once or twice: optimised code takes longer to compile than it saves.
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_enable_compilation_cache", False)  # of this process: see above


# Tracing makes many objects that stay, and few cycles of them: to look for these as often as Python does takes a twentieth of the time.
gc.set_threshold(200_000, 50, 1000)


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_code():
    """Free all programs, at the end of a module, when there are many.

    Every executable holds memory maps, and a process may have 65,530 of them (Linux's vm.max_map_count). The
    whole suite in one worker needs more, and XLA then aborts the process in the midst of a compilation.
    """
    yield
    maps = Path("/proc/self/maps")  # of Linux
    if maps.exists() and len(maps.read_bytes().splitlines()) > 8_000:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def x64():
    """float64 for one test; float32 arrays stay float32."""
    with jax.enable_x64(True):
        yield
