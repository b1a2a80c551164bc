"""The store of compiled programs behind JAX's persistent compilation cache, in files by key.

JAX's own store cannot be bounded in size without another package (filelock), keeps forever the partial entries left by a killed
process or a full disk, and has a checksum only if its compression has one. Here an entry is complete or absent, and used only if its
digest of key and contents is correct.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SUFFIX = ".program"
PARTIAL = ".partial"
DIGEST = 32  # bytes
LEFT_OVER = 3600.0  # seconds after which a partial file is taken to be abandoned
# Fraction of the bound to which the store is reduced, so that not every new entry has to make room.
SHARE = 0.9


def digest(key: str, value: bytes) -> bytes:
    """Checksum that detects a damaged program or one stored under another key."""
    return hashlib.blake2b(
        value, digest_size=DIGEST, key=hashlib.sha256(key.encode()).digest()
    ).digest()


class KeptPrograms:
    """A folder of compiled programs.

    Together with the folders next to it, of other machines and versions, it keeps to a bound by removing the least recently used entries.
    Any number of processes may share it. Failures here are not errors: what cannot be read is compiled, what cannot be written is not
    kept, and the first failure of each kind is reported.
    """

    def __init__(self, folder: Path, max_bytes: int, say: Callable[[str], object]):
        self._path = folder
        self.max_bytes, self.say = max_bytes, say
        self.reads = self.writes = True
        self.given: set[str] = set()  # keys of entries returned to JAX by its last lookups
        self.size: int | None = (
            None  # bytes of all entries, as far as this process knows; None: not yet counted
        )

    def get(self, key: str) -> bytes | None:
        """The program stored under the key, or None."""
        self.given.discard(key)
        if not self.reads:
            return None
        path = self.path_of(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        found, value = data[:DIGEST], data[DIGEST:]
        if found != digest(key, value):
            self.say(f"{path} is damaged: it is compiled again")
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # marks the entry as recently used
        self.given.add(key)
        return value

    def put(self, key: str, value: bytes) -> None:
        """Store a program under the key."""
        if key in self.given:
            # JAX compiles a program that it was given only if it could not load it.
            self.given.clear()
            self.reads = False
            self.say(
                f"the compiled programs in {self._path} cannot be loaded here: they are compiled again"
            )
        if not self.writes or DIGEST + len(value) > self.max_bytes:
            return
        path = self.path_of(key)
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{PARTIAL}")
        try:
            try:
                partial.write_bytes(digest(key, value) + value)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
            self.make_room(DIGEST + len(value))
        except OSError as error:
            self.writes = False
            self.say(
                f"compiled programs cannot be kept in {self._path} ({error.strerror or error})"
            )

    def path_of(self, key: str) -> Path:
        return self._path / f"{key}{SUFFIX}"

    def make_room(self, added: int) -> None:
        """Remove the least recently used entries if the bound is exceeded, and abandoned partial files."""
        if self.size is not None:
            self.size += added
            if self.size <= self.max_bytes:
                return
        entries = sorted(self.entries(), key=lambda entry: entry[0])
        self.size = sum(size for _, size, _ in entries)
        least = SHARE * self.max_bytes if self.size > self.max_bytes else self.size
        for _, size, path in entries:
            if self.size <= least:
                return
            path.unlink(missing_ok=True)
            self.size -= size

    def entries(self) -> Iterator[tuple[float, int, Path]]:
        """Yield (time of last use, bytes, file) of each entry, skipping those that other processes are removing."""
        long_ago = time.time() - LEFT_OVER
        for path in self._path.parent.glob(f"*/*{SUFFIX}*"):
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                if path.name.endswith(SUFFIX):
                    yield found.st_mtime, found.st_size, path
                elif path.name.endswith(PARTIAL) and found.st_mtime < long_ago:
                    path.unlink()
