"""Compiled programs in files, which JAX's persistent compilation cache asks for by their keys.

JAX's own folder of them cannot be bounded without a package more (filelock), keeps for ever the half of an entry that a kill or a
full disk leaves, and has a checksum only where its compression has one. Here an entry is whole or not there, and is used only if
its digest, of key and contents, is right.
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
LEFT_OVER = 3600.0  # seconds after which a file that was being written has nobody who writes it
SHARE = 0.9  # of the bound that is left by making room, so that not every new entry must make some


def digest(key: str, value: bytes) -> bytes:
    """What tells a damaged program from the one of this key."""
    return hashlib.blake2b(
        value, digest_size=DIGEST, key=hashlib.sha256(key.encode()).digest()
    ).digest()


class KeptPrograms:
    """A folder of entries.

    With those of the folders beside it, of other machines and versions, they keep to a bound: the least recently used go.

    Any number of processes may share it. Nothing that goes wrong here is an error: what cannot be read is compiled, what cannot be
    written is not kept, and the first of each kind is said.
    """

    def __init__(self, folder: Path, max_bytes: int, say: Callable[[str], object]):
        self._path = folder
        self.max_bytes, self.say = max_bytes, say
        self.reads = self.writes = True
        self.given: set[str] = set()  # keys of entries that JAX was given when it last asked
        self.size: int | None = (
            None  # of all entries, so far as this process knows; None: not yet counted
        )

    def get(self, key: str) -> bytes | None:
        """What was put under the key, or None."""
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
            os.utime(path)  # by which the least recently used are known
        self.given.add(key)
        return value

    def put(self, key: str, value: bytes) -> None:
        """Keep a program."""
        if key in self.given:
            # JAX compiles what it was given only if it could not load it.
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
        """Remove the least recently used entries if they exceed the bound, and what killed processes were writing."""
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
        """When each was last used, bytes, file; without what others are removing now."""
        long_ago = time.time() - LEFT_OVER
        for path in self._path.parent.glob(f"*/*{SUFFIX}*"):
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                if path.name.endswith(SUFFIX):
                    yield found.st_mtime, found.st_size, path
                elif path.name.endswith(PARTIAL) and found.st_mtime < long_ago:
                    path.unlink()
