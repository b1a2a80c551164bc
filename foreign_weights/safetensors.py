"""The safetensors format, which holds no code: eight bytes with the length of the header, a JSON header, and the numbers.

    {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ..., "__metadata__": {"text": "text"}}

Offsets are relative to the end of the header. All claims of the header are checked against the size of the file: arrays must follow one
another without gaps or overlaps up to the end of the file, and each must have the number of bytes that its shape needs.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import jax.numpy as jnp
import numpy as np

from score_sde.errors import UserError
from score_sde.foreign_weights.stored import Stored
from score_sde.quoting import quoted

LENGTH = struct.Struct("<Q")
# The largest network here, with 2,000 arrays, has a header of a quarter of a megabyte.
LONGEST_HEADER = 1 << 24
MOST_AXES = 32
METADATA = "__metadata__"
DTYPES = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(jnp.bfloat16),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"), "U32": np.dtype("<u4"), "U16": np.dtype("<u2"), "U8": np.dtype("u1"), "BOOL": np.dtype("?"),
}  # fmt: skip


class Place(NamedTuple):
    """Type, shape and location of an array, in bytes from the end of the header."""

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def read(file: BinaryIO, path: Path) -> dict[str, Stored]:
    """The arrays of an open file, which must stay open until they are read.

    Raises:
      UserError: not such a file, or damaged.
    """
    size = os.fstat(file.fileno()).st_size
    header, start = _header(file, path, size)
    places = {name: _place(path, name, given) for name, given in header.items()}
    _check_layout(path, places, size - start)

    def reader(name: str, place: Place) -> Stored:
        def numbers() -> np.ndarray:
            file.seek(start + place.begin)
            data = file.read(place.end - place.begin)
            if len(data) != place.end - place.begin:
                raise _damaged(path, f"{quoted(name)} is cut short")
            return np.frombuffer(data, place.dtype).reshape(place.shape)

        return Stored(place.shape, place.dtype, numbers)

    return {name: reader(name, place) for name, place in places.items()}


def _header(file: BinaryIO, path: Path, size: int) -> tuple[dict[str, Any], int]:
    """Read the header: its entry for each array, and the offset at which the numbers begin."""
    first = file.read(LENGTH.size)
    if len(first) < LENGTH.size:
        raise _damaged(path, f"it has {size} bytes, and its first 8 say how long the header is")
    (length,) = LENGTH.unpack(first)
    if length > min(size - LENGTH.size, LONGEST_HEADER):
        raise _damaged(
            path,
            f"its header would have {length:,} bytes, and the file has {size:,}; at most {LONGEST_HEADER:,} are read",
        )
    try:
        header = json.loads(file.read(length).decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        why = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise _damaged(path, f"its header is no JSON: {why}") from error
    if type(header) is not dict:
        raise _damaged(path, "its header is no JSON object of arrays by name")
    header.pop(METADATA, None)
    return header, LENGTH.size + length


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object; ValueError if a name occurs twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{quoted(next(n for n in names if names.count(n) > 1))} comes twice")
    return found


def _place(path: Path, name: str, given: Any) -> Place:
    """Check and parse the header's entry of one array."""
    if type(given) is not dict or given.keys() != {"dtype", "shape", "data_offsets"}:
        raise _damaged(
            path, f"{quoted(name)} is {quoted(given)}; expected dtype, shape and data_offsets"
        )
    shape, offsets = given["shape"], given["data_offsets"]
    if type(given["dtype"]) is not str or given["dtype"] not in DTYPES:
        raise _damaged(
            path,
            f"{quoted(name)} has the dtype {quoted(given['dtype'])}; known are {', '.join(DTYPES)}",
        )
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise _damaged(
            path, f"{quoted(name)} has shape {quoted(shape)} and data_offsets {quoted(offsets)}"
        )
    dtype, (begin, end) = DTYPES[given["dtype"]], offsets
    needed = math.prod(shape) * dtype.itemsize
    if end - begin != needed:
        raise _damaged(
            path,
            f"{quoted(name)} of shape {quoted(shape)} needs {quoted(needed)} bytes, and its data_offsets are {begin} to {end}",
        )
    return Place(dtype, tuple(shape), begin, end)


def _are_sizes(numbers: Any) -> bool:
    return (
        type(numbers) is list
        and len(numbers) <= MOST_AXES
        and all(type(n) is int and 0 <= n < 2**63 for n in numbers)
    )


def _check_layout(path: Path, places: Mapping[str, Place], size: int) -> None:
    """Refuse arrays that exceed the file, overlap or have gaps between them."""
    reached = 0
    for name, place in sorted(places.items(), key=lambda item: item[1][2:]):
        if place.begin != reached:
            what = "overlaps the array before it" if place.begin < reached else "follows a gap"
            raise _damaged(
                path, f"{quoted(name)} {what}: it begins at byte {place.begin}, not {reached}"
            )
        reached = place.end
    if reached != size:
        raise _damaged(
            path, f"its header speaks of {reached:,} bytes of numbers, and {size:,} are there"
        )


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} is damaged, or no safetensors file: {why}")


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write named arrays, whose dtypes must be among DTYPES, to a file.

    Raises:
      KeyError: another dtype.
      OSError: the file cannot be written.
    """
    codes = {dtype: code for code, dtype in DTYPES.items()}
    header: dict[str, Any] = {METADATA: dict(metadata)}
    begin = 0
    for name, array in arrays.items():
        end = begin + array.nbytes
        header[name] = {
            "dtype": codes[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # pad so that numbers begin at a multiple of eight bytes
    with open(path, "wb") as file:
        file.write(LENGTH.pack(len(text)) + text)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).tobytes())
