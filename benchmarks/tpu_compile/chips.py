"""The TPUs that programs are compiled for: known to the compiler by name, while no machine has to have one."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator
from typing import NamedTuple

import jax

from score_sde.errors import UserError

# The compiler alone is asked: JAX's device is the CPU, nobody asks Google's servers what machine this is, and another process
# may use libtpu too.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class Chip(NamedTuple):
    """One kind of TPU."""

    memory: int
    """Bytes of HBM of each chip, as its documentation says."""
    source: str


CHIPS = {
    "v5e": Chip(16 << 30, "https://docs.cloud.google.com/tpu/docs/v5e"),
    "v5p": Chip(95 << 30, "https://docs.cloud.google.com/tpu/docs/v5p"),
}


def chip_of(topology: str) -> Chip:
    """Of a topology such as v5e:2x4.

    Raises:
      UserError: a kind of chip whose memory is not known here.
    """
    kind, _, shape = topology.partition(":")
    if kind not in CHIPS or not shape:
        raise UserError(
            f"--topologies={topology}: expected {' or '.join(CHIPS)}, a colon and the numbers of chips in each direction, such as "
            "v5e:2x4 or v5p:2x2x2"
        )
    return CHIPS[kind]


def libtpu_version() -> str:
    """Of the compiler for TPUs.

    Raises:
      UserError: it is not installed.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            "libtpu, which holds XLA's compiler for TPUs, is not installed; a TPU is not needed, but: pip install -e '.[tpu]' (Linux)"
        )
    return importlib.metadata.version("libtpu")


def devices_of(topology: str) -> tuple[jax.Device, ...]:
    """Devices to compile for; nothing can run on them.

    Raises:
      UserError: no compiler, or a topology that it does not know.
    """
    from jax.experimental import topologies

    chip_of(topology)
    libtpu_version()
    os.environ.update(ENVIRONMENT)
    try:
        found = topologies.get_topology_desc(topology_name=topology, platform="tpu")
    except Exception as error:  # of the runtime, whose class JAX does not export
        raise UserError(f"--topologies={topology}: {str(error).splitlines()[0]}") from error
    return (*found.devices,)


@contextlib.contextmanager
def refusals() -> Iterator[list[str]]:
    """The compiler's words on a program that does not fit into a chip's memory, in a list that is else empty.

    Raises:
      jax.errors.JaxRuntimeError: whatever else it cannot compile.
    """
    words: list[str] = []
    try:
        yield words
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        words.append(next(filter(None, map(str.strip, str(error).splitlines()))))
