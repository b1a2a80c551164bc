"""Pickles of named NumPy arrays, in which JAX programs store parameters, read without executing anything they name.

Only three names are known, each replaced by an inert stand-in: NumPy's array constructor, its array type and its dtype.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from score_sde.errors import UserError
from score_sde.foreign_weights.pickle_machine import MAX_BYTES, Machine
from score_sde.quoting import printable, quoted

FLOAT32 = "f4"


class _Numbers:
    """Stands for numpy.dtype("f4"), whose state must say that it is little-endian."""

    __slots__ = ()

    def set_state(self, state: Any) -> None:
        if type(state) is not tuple or state[1:2] != ("<",):
            raise UserError(
                f"the file holds numbers with the state {quoted(state)}; expected float32, little-endian"
            )


class _NumbersType:
    __slots__ = ()

    def __call__(self, name: Any, *_flags: Any) -> _Numbers:
        if name != FLOAT32:
            raise UserError(f"the file holds numbers of type {quoted(name)}; expected float32")
        return _Numbers()


class _ArrayType:
    __slots__ = ()


class _Array:
    """An array, empty until its state is set."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        if type(state) is not tuple or len(state) != 5:
            raise UserError("the file holds an array that is none")
        _version, shape, numbers, columns_first, data = state
        sizes = type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape)
        if not sizes or type(numbers) is not _Numbers or type(data) is not bytes:
            raise UserError("the file holds an array that is not one of float32 numbers")
        if len(data) != 4 * math.prod(shape):
            raise UserError(
                f"the file holds an array of shape {shape} in {len(data)} bytes: it is damaged"
            )
        flat = np.frombuffer(data, "<f4")
        self.array = flat.reshape(shape[::-1]).T if columns_first else flat.reshape(shape)


class _Reconstruct:
    __slots__ = ()

    def __call__(self, kind: Any, *_about: Any) -> _Array:
        if type(kind) is not _ArrayType:
            raise UserError("the file holds an array of another type than NumPy's")
        return _Array()


ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _ArrayType(),
    ("numpy", "dtype"): _NumbersType(),
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),  # its name since NumPy 2
}


def read_numpy_pickle(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a pickled dict of dicts, with names joined by "/".

    Raises:
      UserError: the file is missing, too large or damaged, or holds anything but named float32 arrays.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror or error})") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} has more than {MAX_BYTES:,} bytes; it is not read")
    try:
        return named_arrays(Machine(resolve, refuse_reference).run(io.BytesIO(data)))
    except UserError as error:  # the message may quote the file
        raise UserError(printable(f"{path}: {error}")) from error
    except Exception as error:  # damaged bytes may raise anything
        raise UserError(
            printable(
                f"{path} is damaged, or no pickle of arrays ({type(error).__name__}: {error})"
            )
        ) from error


def resolve(module: str, name: str) -> Any:
    """The stand-in for a function or class that arrays need; UserError for any other name."""
    if (module, name) not in ALLOWED:
        raise UserError(f"the file asks for {module}.{name}, which no array needs; it is not read")
    return ALLOWED[module, name]


def refuse_reference(pid: Any) -> Any:
    """Refuse a reference to something outside the pickle."""
    raise UserError(f"the file refers to {quoted(pid)}, which is not in it")


def named_arrays(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree of dicts, by their paths joined with "/"."""
    if not isinstance(tree, dict):
        raise UserError("the file holds no arrays by name")
    found: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= {f"{name}/{rest}": array for rest, array in named_arrays(value).items()}
        elif type(value) is _Array and value.array is not None:
            found[str(name)] = value.array
        else:
            raise UserError(f"the file has something else than an array at {quoted(name)}")
    return found
