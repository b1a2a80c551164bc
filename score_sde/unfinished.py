"""Finished batches of an interrupted command: one file each, in a folder named after everything they depend on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from score_sde.devices import of_first_host
from score_sde.errors import UserError
from score_sde.files import parse_json, user_path, write_whole
from score_sde.npz import read_npz
from score_sde.progress import say
from score_sde.quoting import printable
from score_sde.version import in_words, made_by

Batch = dict[str, np.ndarray]
COMMANDS = "commands.json"
"""The file beside the batches with what made them: for each command version, commit, kind of device and seconds."""
UNRECORDED = {"version": None, "commit": None, "device": None, "seconds": 0.0}
"""The command that made batches without that file, as earlier versions did, or with a damaged one."""


class Unfinished(Protocol):
    """A store of finished batches by number."""

    def load(self, number: int) -> Batch | None: ...

    def save(self, number: int, batch: Batch) -> None: ...


class Nowhere:
    """A store that keeps nothing."""

    def load(self, number: int) -> Batch | None:
        return None

    def save(self, number: int, batch: Batch) -> None:
        return


def digest_of(identity: dict[str, Any]) -> str:
    """A short hash of `identity` for the name of a file or folder."""
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class UnfinishedFolder:
    """A store of batches in `folder`/unfinished-<digest>/<number>.npz, until `remove`.

    The digest is that of `identity`, so that only exactly the same measurement resumes the batches. Several hosts share one folder; its
    contents are listed once, at the start and by the first host, so that all hosts compute the same batches. Those of another version or
    kind of device count too, with a note and a place in the record (`of_all_commands`).
    """

    def __init__(self, folder: Path, identity: dict[str, Any]):
        self.folder = folder / f"unfinished-{of_first_host(digest_of(identity))}"
        there = [int(path.stem) for path in self.folder.glob("*.npz") if path.stem.isdecimal()]
        self.found = {*of_first_host(there)}
        earlier = (commands_in(self.folder) or [UNRECORDED]) if self.found else []
        self.earlier = of_first_host(earlier)
        self.began, self.by = time.perf_counter(), made_by_here()
        found = makers(self.earlier)
        others = [maker_in_words(one) for one in found if one != self.by]
        if others:
            batches = "1 batch" if len(self.found) == 1 else f"{len(self.found)} batches"
            some = ", some of them" if self.by in found else ""
            say(
                f"note: continues from {batches}{some} made by {' and by '.join(others)}; this command runs {maker_in_words(self.by)}, so figures "
                f"may differ slightly. To compute all of them with this one, remove the folder {self.folder}"
            )

    def load(self, number: int) -> Batch | None:
        return self.read(number) if number in self.found else None

    def read(self, number: int) -> Batch:
        """A batch that was saved by this command or an earlier one.

        Raises:
          UserError: the file of the batch is damaged.
        """
        path = self.folder / f"{number}.npz"
        with refused_if_damaged(path):
            return read_npz(path)

    def save(self, number: int, batch: Batch) -> None:
        if jax.process_index() > 0:
            return
        # Saved to an open file, since np.savez would append .npz to a file name.
        write_whole(self.folder / f"{number}.npz", lambda file: np.savez(file, **batch), False)  # type: ignore[arg-type]
        seconds = time.perf_counter() - self.began
        commands = [*self.earlier, {**self.by, "seconds": seconds}]
        write_whole(self.folder / COMMANDS, json.dumps(commands).encode(), False)

    def of_all_commands(self, seconds: float) -> dict[str, Any]:
        """For the record: `seconds` of this command with those of the earlier ones and, if others made batches, all that made some."""
        return of_all_stores([self], seconds)

    def remove(self) -> None:
        if jax.process_index() == 0:
            shutil.rmtree(self.folder, ignore_errors=True)


def of_all_stores(stores: Sequence[UnfinishedFolder], seconds: float) -> dict[str, Any]:
    """As `UnfinishedFolder.of_all_commands`, of a command with several stores."""
    found = makers([one for of in stores for one in (*of.earlier, *commands_in(of.folder))])
    by_here = all(one == of.by for of in stores for one in found)
    by_others = {} if by_here else {"batches_made_by": found}
    return {
        "seconds": seconds + sum(one["seconds"] for of in stores for one in of.earlier),
        **by_others,
    }


def made_by_here() -> dict[str, Any]:
    """What this command's batches are made by: version, commit and kind of device."""
    return {**made_by(), "device": jax.devices()[0].device_kind}


def commands_in(folder: Path) -> list[dict[str, Any]]:
    """The commands that made the batches in a folder, with their seconds; none if the file is missing or damaged."""
    try:
        return [read_command(one) for one in parse_json((folder / COMMANDS).read_bytes())]
    except (OSError, ValueError, TypeError, LookupError, OverflowError):
        return []


def read_command(found: Any) -> dict[str, Any]:
    """One entry of that file; raises ValueError, TypeError or LookupError if it is damaged."""
    by = {name: found[name] for name in ("version", "commit", "device")}
    seconds = float(found["seconds"])
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"seconds={seconds}")
    if not all(of is None or isinstance(of, str) for of in by.values()):
        raise TypeError(f"expected texts or null: {by}")
    return {name: of and printable(of) for name, of in by.items()} | {"seconds": seconds}


def makers(commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What made the batches, in order and without repetitions or seconds."""
    found: list[dict[str, Any]] = []
    for command in commands:
        by = {name: of for name, of in command.items() if name != "seconds"}
        if by not in found:
            found.append(by)
    return found


def maker_in_words(by: dict[str, Any]) -> str:
    """What made batches, for a message: score-sde 1.0.0 on cpu."""
    return "an unrecorded version" if by["version"] is None else f"{in_words(by)} on {by['device']}"


@contextlib.contextmanager
def refused_if_damaged(path: Path) -> Iterator[None]:
    """Turn errors of reading a batch file into a UserError; zip archives and pictures detect damage by checksums."""
    try:
        yield
    except Exception as error:  # which errors damaged bytes raise is undocumented
        raise UserError(
            f"{path}, a batch of an interrupted command, is damaged ({error}); remove the folder {path.parent} and repeat the command, "
            "which computes its batches again"
        ) from error


def newest_file(folder: Path) -> float:
    """Time of the last change in a folder; tells apart weights that were retrained to the same step."""
    times = [0.0]
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):  # a training run may be saving there
                times.append(os.stat(os.path.join(parent, name)).st_mtime)
    return max(times)


def changed(path: str) -> float | None:
    """Time of the last change of the file or folder at `path`; None if there is none."""
    named = user_path(path)
    if not path or not named.exists():
        return None
    return newest_file(named) if named.is_dir() else named.stat().st_mtime


def all_hosts_meet(what: str) -> None:
    """Wait for the other hosts, which might still be reading what the first is about to remove."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)


def unused(folder: Path, stem: str, suffix: str) -> Path:
    """A file name whose stem no folder, .npz or .png in `folder` has, so that no earlier result is overwritten."""
    path, n = folder / stem, 2
    while any(Path(f"{path}{taken}").exists() for taken in ("", ".npz", ".png")):
        path, n = folder / f"{stem}-{n}", n + 1
    return Path(f"{path}{suffix}")
