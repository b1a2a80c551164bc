"""The TPUs that programs are compiled for, which the compiler knows by name without a machine that has one."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator
from typing import NamedTuple

import jax

from score_sde.errors import UserError

# Only the compiler is used: JAX's device is the CPU, Google's metadata server is not queried, and other processes may load
# libtpu at the same time.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class Chip(NamedTuple):
    """One kind of TPU."""

    memory: int
    """Bytes of HBM per chip, according to its documentation."""
    source: str


CHIPS = {
    "v5e": Chip(16 << 30, "https://docs.cloud.google.com/tpu/docs/v5e"),
    "v5p": Chip(95 << 30, "https://docs.cloud.google.com/tpu/docs/v5p"),
}


def chip_of(topology: str) -> Chip:
    """The kind of chip of a topology such as v5e:2x4.

    Raises:
      UserError: a malformed topology, or a kind of chip that is not in CHIPS.
    """
    kind, _, shape = topology.partition(":")
    if kind not in CHIPS or not shape:
        raise UserError(
            f"--topologies={topology}: expected {' or '.join(CHIPS)}, a colon and the numbers of chips in each direction, such as "
            "v5e:2x4 or v5p:2x2x2"
        )
    return CHIPS[kind]


def libtpu_version() -> str:
    """The version of libtpu, which contains the compiler for TPUs.

    Raises:
      UserError: libtpu is not installed.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            "libtpu, which holds XLA's compiler for TPUs, is not installed; a TPU is not needed, but: pip install -e '.[tpu]' (Linux)"
        )
    return importlib.metadata.version("libtpu")


def devices_of(topology: str) -> tuple[jax.Device, ...]:
    """The devices of a topology, to compile for; nothing can run on them.

    Raises:
      UserError: the compiler is not installed, or does not know the topology.
    """
    from jax.experimental import topologies

    chip_of(topology)
    libtpu_version()
    os.environ.update(ENVIRONMENT)
    try:
        found = topologies.get_topology_desc(topology_name=topology, platform="tpu")
    except Exception as error:  # the runtime's class, which JAX does not export
        raise UserError(f"--topologies={topology}: {str(error).splitlines()[0]}") from error
    return (*found.devices,)


@contextlib.contextmanager
def refusals() -> Iterator[list[str]]:
    """Collect the compiler's message about a program that exceeds the memory of a chip, in a list that is otherwise empty.

    Raises:
      jax.errors.JaxRuntimeError: any other error of the compiler.
    """
    words: list[str] = []
    try:
        yield words
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        words.append(next(filter(None, map(str.strip, str(error).splitlines()))))
