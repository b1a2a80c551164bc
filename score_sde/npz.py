"""Reading of untrusted NumPy archives (.npz): complete, or refused with a message."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from score_sde.machine import memory_bytes
from score_sde.quoting import quoted

HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(path: str | Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file by name; if `names` is given, only those of them that exist.

    Raises:
      ValueError: the file does not exist, is not an archive, or is damaged, whatever NumPy, zipfile and zlib raise.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            for name in members.keys() if names is None else members.keys() & set(names):
                check_claim(archive, members[name])
        with np.load(path) as file:
            return {name: file[name] for name in file.files if names is None or name in names}
    except zipfile.BadZipFile as error:
        with open(path, "rb") as file:
            if file.read(6) == b"\x93NUMPY":
                raise ValueError(
                    "it is one array, as np.save writes; np.savez(path, images=array) gives it a name"
                ) from error
        raise ValueError(str(error)) from error
    except Exception as error:  # which errors damaged bytes raise is undocumented
        raise ValueError(str(error) or type(error).__name__) from error


def check_claim(archive: zipfile.ZipFile, name: str) -> None:
    """Refuse an array whose claimed size differs from the stored one or exceeds memory, before memory is allocated."""
    shape, dtype, start = array_header(archive, name)
    claimed = math.prod(shape) * dtype.itemsize
    stored = archive.getinfo(name).file_size - start
    if claimed != stored and not dtype.hasobject:
        raise ValueError(
            f"{quoted(name)} is said to be of shape {quoted(shape)}, {claimed} bytes, but {stored} are there"
        )
    if claimed > memory_bytes():
        raise ValueError(f"{quoted(name)} of {claimed} bytes is larger than the memory")


def array_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape and dtype in the header of an array, and the offset of its data in the entry.

    Raises:
      ValueError: an unknown version of the format.
    """
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        if version not in HEADERS:
            raise ValueError(f"{quoted(name)} is of version {version} of NumPy's format")
        shape, _, dtype = HEADERS[version](file)
        return shape, dtype, file.tell()
