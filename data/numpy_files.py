"""Safe reading of NumPy's .npz and .npy files: nothing is unpickled, and every claim in a header is checked.

An uncompressed array, in any .npy file or written by `np.savez`, is memory-mapped and may be larger than memory. Arrays
written by `np.savez_compressed` are decompressed into memory.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np

from score_sde.data.builders import DatasetError, one_line
from score_sde.machine import memory_bytes

NPY = b"\x93NUMPY"
ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # an archive, and an empty one
ONE = "images"  # name given to the array of an .npy file

HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
HEADER_BYTES = 1 << 14  # more than the largest header that NumPy accepts
# Largest expansion factor of Deflate (258 bytes from two bits: RFC 1951, 3.2.5).
MOST_UNPACKED = 1032
ENCRYPTED = 0x1  # bit of a member's flags
CHUNK = 1 << 20


class HoldsObjects(DatasetError):
    """An array of Python objects, which is not read."""


class NumpyFile(NamedTuple):
    """The requested arrays of a file, and what else it holds."""

    arrays: dict[str, np.ndarray]
    others: list[str]
    """Names of arrays that were not requested."""
    parts: list[tuple[str, int]]
    """Names and sizes of the parts, with checksums if the file has them, for the fingerprint."""


class Header(NamedTuple):
    """The header of an .npy file: claimed shape, memory order and type of the array, and size of the header itself."""

    shape: tuple[int, ...]
    order: Literal["C", "F"]
    dtype: np.dtype
    size: int
    """Size of the header itself in bytes."""

    @property
    def claimed(self) -> int:
        """Claimed size of the array in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_arrays(path: Path, names: Sequence[str]) -> NumpyFile:
    """Read those of the named arrays that a file has; an .npy file has a single array, called `images`.

    Raises:
        DatasetError: the file is of neither kind, encrypted or damaged, does not hold what it claims to, or has arrays
            of objects.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is not a file; give an .npz or .npy file")
    try:
        with open(path, "rb") as file:
            start = file.read(len(NPY))
        if start == NPY:
            array = mapped(path, "its array", 0, path.stat().st_size)
            return NumpyFile({ONE: array}, [], [(path.name, path.stat().st_size)])
        if start[:4] in ZIP:
            return read_archive(path, names)
    except DatasetError:
        raise
    except Exception as error:  # parsers can raise anything
        raise DatasetError(f"{path} cannot be read: {one_line(error)}") from error
    held = f"begins with {start!r}" if start else "is empty"
    raise DatasetError(
        f"{path} {held}: expected what np.save (.npy) or np.savez (.npz) writes; pickled files are never read"
    )


def read_archive(path: Path, names: Sequence[str]) -> NumpyFile:
    """Read the arrays with these names from an .npz file."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        arrays = {
            name: member(path, archive, info) for name, info in members.items() if name in names
        }
    parts = [(f"{name} {info.CRC:08x}", info.file_size) for name, info in members.items()]
    return NumpyFile(arrays, sorted(members.keys() - arrays.keys()), parts)


def member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Read an array of an archive, and check its checksum."""
    name = info.filename
    if info.flag_bits & ENCRYPTED:
        raise DatasetError(f"{path}: {name} is encrypted; write it again without a password")
    if info.compress_type == zipfile.ZIP_STORED:
        with archive.open(info) as file:
            while file.read(CHUNK):
                pass  # zipfile checks the checksum at the end
        start = start_of(path, info)
        return mapped(path, name, start, start + info.file_size)
    if info.compress_type != zipfile.ZIP_DEFLATED:
        raise damaged(path, name, "compressed as NumPy does not")
    packed = min(info.compress_size, path.stat().st_size)
    if info.file_size > MOST_UNPACKED * (packed + 1):
        raise damaged(path, name, f"{info.file_size} bytes cannot be unpacked from {packed}")
    memory = memory_bytes()
    if info.file_size > memory:
        raise DatasetError(
            f"{path}: {name} has {info.file_size} bytes when it is unpacked, and this machine has a memory of {memory}; write it with "
            "np.savez, uncompressed, which need not fit in memory"
        )
    with archive.open(info) as file:
        return unpacked(path, name, file, info.file_size)


def start_of(path: Path, info: zipfile.ZipInfo) -> int:
    """Offset of a member's data, after its local header, whose length may differ from that in the central directory."""
    with open(path, "rb") as file:
        file.seek(info.header_offset + 26)
        lengths = struct.unpack("<HH", file.read(4))
    return info.header_offset + 30 + sum(lengths)


def mapped(path: Path, name: str, start: int, end: int) -> np.ndarray:
    """Memory-map the array between two offsets of a file, read-only."""
    with open(path, "rb") as file:
        file.seek(start)
        header = read_header(path, name, file.read(min(HEADER_BYTES, end - start)))
    first = start + header.size
    check_claim(path, name, header, min(end, path.stat().st_size) - first)
    if not header.claimed:  # nothing to map
        return np.empty(header.shape, header.dtype)
    return np.memmap(path, header.dtype, "r", first, header.shape, header.order)


def unpacked(path: Path, name: str, file: IO[bytes], size: int) -> np.ndarray:
    """Read the array of a compressed member of `size` uncompressed bytes."""
    contents, filled = bytearray(size), 0
    while part := file.read(CHUNK):
        contents[filled : filled + len(part)] = part
        filled += len(part)
    header = read_header(path, name, bytes(contents[: min(filled, HEADER_BYTES)]))
    check_claim(path, name, header, filled - header.size)
    flat = np.frombuffer(contents, header.dtype, math.prod(header.shape), header.size)
    return flat.reshape(header.shape, order=header.order)


def read_header(path: Path, name: str, start: bytes) -> Header:
    """Parse the header from the first bytes of an array in NumPy's format."""
    file = io.BytesIO(start)
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran_order, dtype = HEADERS[version](file)
    except Exception as error:  # the parser is given arbitrary bytes
        raise damaged(path, name, one_line(error)) from error
    header = Header(shape, "F" if fortran_order else "C", dtype, file.tell())
    if header.dtype.hasobject:
        raise HoldsObjects(
            f"{path}: {name} holds Python objects, and unpickling them could run arbitrary code; save plain numbers"
        )
    if min(header.shape, default=0) < 0:
        raise damaged(path, name, f"it claims the shape {header.shape}")
    return header


def check_claim(path: Path, name: str, header: Header, there: int) -> None:
    """Refuse an array whose header claims more bytes than there are."""
    if header.claimed > there:
        claim = f"{header.dtype} of shape {header.shape}, {header.claimed} bytes"
        raise damaged(path, name, f"it claims to be {claim}, but there are {there}")


def damaged(path: Path, name: str, why: str) -> DatasetError:
    """The error for an array that cannot be read."""
    return DatasetError(f"{path}: {name} is damaged: {why}; write the file again")


def in_words(names: Sequence[str]) -> str:
    """List names from a file for a message, with arbitrary characters escaped and long names cut."""
    listed = ", ".join(repr(name)[1:40].rstrip("'") for name in names[:5])
    return listed + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "no arrays"
