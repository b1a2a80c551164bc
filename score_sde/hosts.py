"""Multi-host jobs: the processes, given by flags or detected, and joining them within a time limit."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from score_sde.errors import UserError
from score_sde.preemption import end_at_sigterm

JOIN_TIMEOUT = 300  # seconds
LATER = 60  # seconds that XLA waits longer than we do, so that our own message comes first
VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
GRACE = 30.0  # seconds after a mistake, in which the other hosts may find it too
# How JAX ends a sentence about an address, number or index that it does not find.
NOT_FOUND = ("should be defined.", "must be defined.")


class Hosts(NamedTuple):
    """The processes of a job; JAX detects from the cluster what is None."""

    coordinator_address: str | None = None
    """HOST:PORT of the process of index 0."""
    num_processes: int | None = None
    process_id: int | None = None
    join_timeout: int = JOIN_TIMEOUT
    """Seconds to wait for the other processes."""

    def completed(self, environ: Mapping[str, str]) -> Hosts:
        """Fill in what is None from environment variables, and check the result.

        Raises:
          UserError: an invalid address, number or index.
        """
        address, count, index = (environ.get(name) or None for name in VARIABLES)
        hosts = Hosts(
            self.coordinator_address or address,
            number(count, VARIABLES[1]) if self.num_processes is None else self.num_processes,
            number(index, VARIABLES[2]) if self.process_id is None else self.process_id,
            self.join_timeout,
        )
        hosts.check()
        return hosts

    def check(self) -> None:
        port = re.fullmatch(r"\S+:(\d{1,5})", self.coordinator_address or "localhost:1")
        if port is None or not 0 < int(port[1]) < 2**16:
            raise UserError(
                f"--coordinator_address={self.coordinator_address}: expected HOST:PORT of the process of index 0, such as node1:12345"
            )
        count, index = self.num_processes, self.process_id
        if count is not None and count < 1:
            raise UserError(f"--num_processes={count}: expected 1 or more")
        if index is not None and not 0 <= index < (count or index + 1):
            raise UserError(
                f"--process_id={index}: expected an index from 0 to --num_processes={count} less one"
            )
        if not 0 < self.join_timeout <= 10**6:
            raise UserError(f"--join_timeout={self.join_timeout}: expected seconds, 1 to a million")


def number(text: str | None, variable: str) -> int | None:
    """Parse an environment variable as an integer; raise UserError if it is not one."""
    try:
        return None if text is None else int(text)
    except ValueError:
        raise UserError(f"${variable}={text!r}: expected an integer") from None


def join(hosts: Hosts) -> None:
    """Wait for the other processes of the job; this must be the first use of JAX.

    Raises:
      UserError: the processes cannot be determined, or do not join in time.
    """
    import jax

    address, count, index, seconds = hosts
    if address is not None:
        with contextlib.suppress(OSError):
            print(
                f"joining {count or 'the'} processes at {address}, for up to {seconds} s",
                file=sys.stderr,
                flush=True,
            )
    apart = (
        f"the {count or ''} processes of --multi_host did not meet at {address or 'the coordinator'} within {seconds} s; start as many, with "
        "--process_id from 0 on, and a --coordinator_address that all of them reach"
    )
    try:
        with warnings.catch_warnings(action="ignore"), ending_after(seconds, apart):
            jax.distributed.initialize(
                address, count, index, initialization_timeout=seconds + LATER
            )
    except Exception as error:  # of sockets, of every cluster's environment, of XLA
        missing = [
            f"--{name}" for name, given in zip(Hosts._fields, hosts, strict=True) if given is None
        ]
        said = first_line(error)
        if not missing:
            raise UserError(f"{apart} ({said})") from error
        give = f"give {', '.join(missing)} on each host, or leave out --multi_host ({said})"
        if said.endswith(NOT_FOUND):
            raise UserError(
                "--multi_host finds no cluster here (SLURM, Kubernetes by jax[k8s], MPI, a TPU pod) that says what it needs: "
                f"{give}"
            ) from error
        raise UserError(
            f"--multi_host cannot join the processes of the cluster that it finds here: {give}"
        ) from error
    end_at_sigterm()


@contextlib.contextmanager
def ending_after(seconds: float, words: str) -> Iterator[None]:
    """Exit with this message if the block takes longer than `seconds`.

    If processes are missing, XLA itself would abort with a C++ stack trace.
    """

    def end() -> None:
        print(f"main.py: {words}", file=sys.stderr, flush=True)
        os._exit(2)

    timer = started(seconds, end)
    try:
        yield
    finally:
        timer.cancel()


def end_alone(status: int) -> int:
    """Of several hosts, end this process with `status` after GRACE seconds at the latest; returns `status`.

    To be called when it ends by a mistake. JAX lets a process end only together with the others, and these may be waiting for it in a
    collective operation; once it has ended, the coordinator tells them. If all make the same mistake, they end together before that.
    """
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        started(GRACE, lambda: os._exit(status))
    return status


def started(seconds: float, end: Callable[[], None]) -> threading.Timer:
    """A timer that has been started, in a thread that keeps no process alive."""
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer


def check_devices() -> None:
    """Raise UserError if JAX finds no device, or not the same number of devices on every host."""
    import jax

    try:
        of_hosts = Counter(device.process_index for device in jax.devices())
    except (
        RuntimeError,
        AssertionError,
    ) as error:  # AssertionError: JAX_PLATFORMS=cuda without jax[cuda13]
        asked = f"with JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}"
        raise UserError(
            f"JAX finds nothing to compute on {asked} ({first_line(error)}); unset it, or install what it asks for, such as "
            "jax[cuda13] or jax[tpu]"
        ) from error
    if len({*of_hosts.values()}) > 1:
        listed = ", ".join(f"{host}: {count}" for host, count in sorted(of_hosts.items()))
        raise UserError(
            f"the processes have different numbers of devices ({listed}), but each must have the same share of a batch: give all of "
            "them as many, for example by CUDA_VISIBLE_DEVICES"
        )


def first_line(error: Exception) -> str:
    """The first line of an error message, or the name of its class if that is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
