"""Files that are whole or not there, lines that stand alone, and what is said where there is no room for them."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from score_sde.errors import UserError

# What a full disk, a quota, a limit on files, a failing or a read-only one answers.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
ABANDONED = 24 * 3600  # seconds without a byte


def write_whole(
    path: Path, contents: bytes | Callable[[Any], object], durable: bool = True
) -> None:
    """Write a file beside its place and rename it: at any moment `path` is the old file, the new one, or absent.

    Args:
      contents: its bytes, or a function that writes them to a binary file.
      durable: whether it must survive a loss of power as soon as this returns.

    Raises:
      UserError: it cannot be written.
    """
    # Of its own for each writer, of whom none takes another's away: two commands may make one file.
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "wb") as file:
                if isinstance(contents, bytes):
                    file.write(contents)
                else:
                    contents(file)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            partial.replace(path)
            if durable:
                remove_abandoned(path)
                sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_abandoned(path: Path) -> None:
    """Remove what writers of this file that were killed have left beside it; one that writes still has touched its own of late."""
    for partial in path.parent.glob(f"{glob.escape(path.name)}.*.partial"):
        with contextlib.suppress(OSError):  # another writer may be removing it
            if partial.stat().st_mtime < time.time() - ABANDONED:
                partial.unlink()


def sync_folder(folder: Path) -> None:
    """Have the names in it survive a loss of power, where the system can."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):  # some network folders cannot
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def append_whole(path: Path, data: bytes, ends: bytes = b"") -> None:
    """Add bytes in one write, so that two processes do not mix theirs.

    Args:
      ends: how what is there should end: it is completed where a broken write has left something else.

    Raises:
      UserError: they cannot be written; the file is then as it was.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size, written = os.fstat(file).st_size, 0
            if ends and size and os.pread(file, 1, size - 1) != ends:
                data = ends + data
            try:
                while written < len(data):
                    written += os.write(file, data[written:])
            except OSError:
                if os.fstat(file).st_size == size + written:  # nobody else has written since
                    os.ftruncate(file, size)
                raise
        finally:
            os.close(file)
    except OSError as error:
        raise cannot_write(path, error) from error


def parse_json(data: str | bytes) -> Any:
    """What a text says.

    Raises:
      ValueError: it is no JSON, or nested deeper than Python's parser goes.
    """
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def user_path(text: str | Path) -> Path:
    """A path as a user gives it: ~ is their home."""
    return Path(os.path.expanduser(text))


def append_line(path: Path, line: str) -> None:
    """Add a line of text; as `append_whole`."""
    append_whole(path, line.encode() + b"\n", ends=b"\n")


def cannot_write(path: Path | str, error: OSError) -> UserError:
    """The error for a file that could not be written."""
    return UserError(
        f"cannot write {path} ({error.strerror or error}); what was there is as it was: make room, or give another "
        "--workdir, then the same command again"
    )
