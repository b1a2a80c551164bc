"""Writing of PyTorch's zip format without PyTorch."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

Arrays = list[np.ndarray]
_STORAGE_TYPES = {"<f4": "FloatStorage", "<f8": "DoubleStorage", "<i8": "LongStorage"}
_ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def save(path: Path, contents: Any) -> None:
    """Write a file as torch.save would: dicts, lists, tuples, strings, numbers, None, and arrays as tensors.

    Raises:
      KeyError: contents of another type.
    """
    arrays: list[np.ndarray] = []
    program = b"\x80\x02" + b"".join(_pickled(contents, arrays)) + b"."
    root = path.stem
    with zipfile.ZipFile(path, "w") as archive:

        def write(name: str, data: bytes) -> None:
            # An explicit ZipInfo has a fixed date, so that the same state gives the same file.
            archive.writestr(zipfile.ZipInfo(f"{root}/{name}"), data)

        write("data.pkl", program)
        write("byteorder", b"little")
        for key, array in enumerate(arrays):
            write(f"data/{key}", array.tobytes())
        write("version", b"3\n")


def _pickled(value: Any, arrays: Arrays) -> Iterable[bytes]:
    """The instructions (pickle protocol 2) that create a value; its arrays are appended to `arrays`."""
    return _WRITERS[type(value)](value, arrays)


def _int(value: int, arrays: Arrays) -> Iterator[bytes]:
    if -(2**31) <= value < 2**31:
        yield b"J" + struct.pack("<i", value)
    else:  # LONG1: the length, then the digits in base 256
        digits = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        yield b"\x8a" + bytes([len(digits)]) + digits


def _str(value: str, arrays: Arrays) -> Iterator[bytes]:
    text = value.encode()
    yield b"X" + struct.pack("<I", len(text)) + text


def _items(opening: bytes, items: Iterable[Any], closing: bytes, arrays: Arrays) -> Iterator[bytes]:
    yield opening
    for item in items:
        yield from _pickled(item, arrays)
    yield closing


def _tuple(value: tuple[Any, ...], arrays: Arrays) -> Iterator[bytes]:
    return _items(b"(", value, b"t", arrays)


def _tensor(value: np.ndarray, arrays: Arrays) -> Iterator[bytes]:
    """A call of _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks)."""
    array = value.astype(value.dtype.newbyteorder("<"), order="C", copy=False)
    strides = tuple(stride // array.itemsize for stride in array.strides)
    yield b"ctorch._utils\n_rebuild_tensor_v2\n("
    # The storage is a persistent id: ("storage", type, key, device, size).
    yield b"("
    yield from _str("storage", arrays)
    yield f"ctorch\n{_STORAGE_TYPES[array.dtype.str]}\n".encode()
    yield from _str(str(len(arrays)), arrays)
    yield from _str("cpu", arrays)
    yield from _int(array.size, arrays)
    yield b"tQ"
    yield from _int(0, arrays)
    yield from _tuple(array.shape, arrays)
    yield from _tuple(strides, arrays)
    yield b"\x89" + _ORDERED_DICT + b"tR"
    arrays.append(array)


_WRITERS: dict[type, Callable[[Any, Arrays], Iterable[bytes]]] = {
    type(None): lambda value, arrays: [b"N"],
    bool: lambda value, arrays: [b"\x88" if value else b"\x89"],
    int: _int,
    float: lambda value, arrays: [b"G" + struct.pack(">d", value)],
    str: _str,
    tuple: _tuple,
    list: lambda value, arrays: _items(b"](", value, b"e", arrays),
    dict: lambda value, arrays: _items(b"}(", chain.from_iterable(value.items()), b"u", arrays),
    np.ndarray: _tensor,
}
