"""The checksums of a checkpoint's files, stored with them, since a flipped bit in the weights would go unnoticed otherwise."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from score_sde.files import parse_json, write_whole

FILE = "sha256.json"
WRITTEN_LATER = (
    "_CHECKPOINT_METADATA"  # Orbax adds the commit time to it; it says nothing about the arrays
)


def write_manifest(folder: Path) -> None:
    """Write the checksums of all files in a checkpoint's folder."""
    sums = {name: digest(folder / name) for name in names(folder)}
    write_whole(folder / FILE, (json.dumps(sums, indent=0) + "\n").encode())


def damage(folder: Path) -> str | None:
    """Describe what is wrong with the files; None if nothing is, or for a checkpoint of an older version without checksums."""
    if not any(folder.iterdir()):
        return "its folder is empty"
    path = folder / FILE
    if not path.exists():
        return None
    try:
        sums = dict(parse_json(path.read_bytes()))
    except (ValueError, TypeError):
        return f"{FILE} is not a list of checksums"
    for name, expected in sums.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if digest(folder / name) != expected:
            return f"{name} does not match its checksum"
    return None


def names(folder: Path) -> list[str]:
    """Return the sorted names of all files in a folder that the manifest should list."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in files if name != WRITTEN_LATER)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
