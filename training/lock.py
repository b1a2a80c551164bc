"""A lock that allows one run at a time in a folder; two would drop each other's log lines and overwrite each other's checkpoints.

On a single machine the operating system's file lock suffices; it is released when the process ends. File systems shared by several
machines may not support locks, or only within each machine. Therefore a run also updates the lock file's modification time every
few seconds as a heartbeat, and a process on another machine first watches for it. Only changes of the time matter, so clocks need
not agree.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from score_sde.errors import UserError
from score_sde.files import cannot_write, parse_json
from score_sde.progress import say

FILE = "lock"
BEAT = 10.0  # seconds between two heartbeats
WATCH = 35.0  # seconds without a heartbeat after which a run counts as dead


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold <folder>/lock within a `with` block; the system releases it when the process ends, however it ends.

    Raises:
      UserError: another process is training here; the message says which.
    """
    if jax.process_index() > 0:  # the first host holds the lock for all
        yield
        return
    path = folder / FILE
    with contextlib.ExitStack() as stack:
        file = _open(path)
        stack.callback(os.close, file)
        locked = _lock(file, folder)
        left = _holder(file)  # a run that did not end properly, or runs elsewhere
        if left and not (locked and left.get("machine") == _machine()):
            _watch(path, folder, left)
        try:
            _write(file, json.dumps(_self()))
        except OSError as error:
            raise cannot_write(path, error) from error
        stack.callback(_write, file, "")
        stack.enter_context(_signs_of_life(file))
        yield


def check_free(folder: Path) -> None:
    """Refuse a folder in which another process is training, without making or holding its lock.

    Raises:
      UserError: as for `alone_in`.
    """
    if (folder / FILE).exists():
        with alone_in(folder):
            pass


def _lock(file: int, folder: Path) -> bool:
    """Take the system's file lock; return False if the file system does not support locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _taken(folder, _holder(file)) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        return False
    return True


def _watch(path: Path, folder: Path, left: dict[str, Any]) -> None:
    """Watch the lock file long enough to be certain that there is no heartbeat.

    Raises:
      UserError: there is one.
    """
    say(
        f"{folder} is still marked as in use by {_in_words(left)}; watching for its heartbeat for {WATCH:.0f} s"
    )
    first, until = _time_of(path), time.monotonic() + WATCH
    while time.monotonic() < until:
        time.sleep(BEAT / 10)
        if _time_of(path) != first:
            raise _taken(folder, left)


def _time_of(path: Path) -> int:
    # Reopen the file each time: NFS asks the server only then, and otherwise answers from its cache.
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime_ns


@contextlib.contextmanager
def _signs_of_life(file: int) -> Iterator[None]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(file)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _taken(folder: Path, holder: dict[str, Any]) -> UserError:
    return UserError(
        f"another run is training in {folder}: {_in_words(holder)}; wait for it to end, stop it, or use another --workdir"
    )


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise cannot_write(path, error) from error


def _write(file: int, text: str) -> None:
    os.truncate(file, 0)
    os.pwrite(file, text.encode(), 0)


def _machine() -> str:
    """Return an identifier of this machine since it was booted, or its host name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def _self() -> dict[str, str | int]:
    return {
        "machine": _machine(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv)[:1000],
    }


def _holder(file: int) -> dict[str, Any]:
    """Return the contents of the lock file; {} if they cannot be parsed."""
    try:
        held = parse_json(os.pread(file, 4096, 0))
    except ValueError:
        return {}
    return held if isinstance(held, dict) else {}


def _in_words(held: dict[str, Any]) -> str:
    try:
        return f"process {held['pid']} of {held['host']} since {held['since']} ({held['command']})"
    except KeyError:
        return "another process"
