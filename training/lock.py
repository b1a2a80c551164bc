"""One run at a time in a folder: two would drop each other's lines and save over each other's checkpoints."""

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
from collections.abc import Iterator
from pathlib import Path

import jax

from score_sde.errors import UserError
from score_sde.files import cannot_write

FILE = "lock"


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold <folder>/lock. The system lets go of it when the process ends, however it ends.

    Raises:
      UserError: another process trains here, saying which.
    """
    if jax.process_index() > 0:  # the first host holds it for all
        yield
        return
    path = folder / FILE
    with contextlib.ExitStack() as stack:
        file = _open(path)
        stack.callback(os.close, file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder} is being trained in by {_holder(file)}; wait for it to end or stop it, or give another --workdir"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            # A file system that knows no locks.
        try:
            os.truncate(file, 0)
            os.write(file, json.dumps(_self()).encode())
        except OSError as error:
            raise cannot_write(path, error) from error
        yield


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise cannot_write(path, error) from error


def _self() -> dict[str, str | int]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv)[:1000],
    }


def _holder(file: int) -> str:
    try:
        held = json.loads(os.pread(file, 4096, 0))
        return f"process {held['pid']} of {held['host']} since {held['since']} ({held['command']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
