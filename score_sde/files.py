"""Atomic writing of files and lines, and the error when they cannot be written."""

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

# Errors of a full disk, an exceeded quota, a file size limit, and a failing or read-only disk.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
ABANDONED = 24 * 3600  # seconds since the last write


def write_whole(
    path: Path, contents: bytes | Callable[[Any], object], durable: bool = True
) -> None:
    """Write a temporary file and rename it: at any moment `path` is the old file, the new one, or absent.

    Args:
      contents: bytes, or a function that writes them to a binary file.
      durable: whether the file must survive a power failure as soon as this returns.

    Raises:
      UserError: the file cannot be written.
    """
    # A different name for each writer, since two commands may write the same file at once.
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
    """Remove temporary files that killed writers of `path` have left; those of active writers have been modified recently."""
    for partial in path.parent.glob(f"{glob.escape(path.name)}.*.partial"):
        with contextlib.suppress(OSError):  # another writer may be removing it
            if partial.stat().st_mtime < time.time() - ABANDONED:
                partial.unlink()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power failure, where the system supports it."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):  # not supported by some network file systems
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def append_whole(path: Path, data: bytes, ends: bytes = b"") -> None:
    """Append bytes in a single write, so that the output of two processes does not interleave.

    Args:
      ends: the byte that existing contents should end with; it is added first if an interrupted write has left it out.

    Raises:
      UserError: the bytes cannot be written; the file is then unchanged.
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
                if os.fstat(file).st_size == size + written:  # no other process has written since
                    os.ftruncate(file, size)
                raise
        finally:
            os.close(file)
    except OSError as error:
        raise cannot_write(path, error) from error


def parse_json(data: str | bytes, constant: Callable[[str], Any] | None = None) -> Any:
    """Parse JSON; `constant` is what to make of the words NaN, Infinity and -Infinity, by default the numbers.

    Raises:
      ValueError: the text is not JSON, or nested too deeply for Python's parser.
    """
    try:
        return json.loads(data, parse_constant=constant)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def user_path(text: str | Path) -> Path:
    """The path given by a user, with ~ expanded to the home directory."""
    return Path(os.path.expanduser(text))


def append_line(path: Path, line: str) -> None:
    """Append a line of text, by `append_whole`."""
    append_whole(path, line.encode() + b"\n", ends=b"\n")


def cannot_write(path: Path | str, error: OSError) -> UserError:
    """The error for a file that could not be written."""
    return UserError(
        f"cannot write {path} ({error.strerror or error}); existing files are unchanged: free some space or choose another --workdir, then "
        "repeat the command"
    )
