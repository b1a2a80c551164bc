"""Reading of the pickle inside a PyTorch file without executing anything that it names.

A pickle is a program that imports objects by name and calls them. Here a name can only refer to one of a few inert
stand-ins for what a checkpoint of arrays needs. Any other name is refused before it is looked up, and PyTorch need not be
installed. The stand-ins have no attributes, so a file cannot modify them. The program itself is run by pickle_machine.py.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import jax.numpy as jnp
import numpy as np

from score_sde.errors import UserError
from score_sde.foreign_weights.pickle_machine import MAX_BYTES, Machine
from score_sde.quoting import quoted

MAX_AXES = 32  # of an array


class StorageType(NamedTuple):
    """Stands for a type such as torch.FloatStorage."""

    name: str
    dtype: str  # in NumPy's notation, little-endian


class Storage(NamedTuple):
    """Numbers in the file, not yet read."""

    key: str
    dtype: str
    size: int  # in elements


class Tensor(NamedTuple):
    """A view within the bounds of a storage, not yet read. Offset and strides are in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.storage.dtype)


class _Dict(dict):
    """Stands for an OrderedDict; its attributes, such as the version of a state dict, are ignored."""

    __slots__ = ()

    def set_state(self, state: Any) -> None:
        pass


class _OrderedDict:
    __slots__ = ()

    def __call__(self) -> _Dict:
        return _Dict()


class _RebuildTensor:
    """Stands for torch._utils._rebuild_tensor_v2; refuses a view that exceeds its storage or has more elements."""

    __slots__ = ()

    def __call__(
        self, storage: Any, offset: Any, shape: Any, strides: Any, *_about_gradients: Any
    ) -> Tensor:
        if type(storage) is not Storage or not (_are_sizes(shape) and _are_sizes(strides)):
            raise UserError("the file holds a tensor that is not an array of numbers")
        last = sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        # The number of elements is checked too: with a stride of 0 a small file could hold an array of any size.
        inside = math.prod(shape) <= storage.size and offset + last < storage.size
        if not _are_sizes((offset,)) or (math.prod(shape) > 0 and not inside):
            raise UserError(
                f"the file holds a tensor of shape {shape} with strides {strides} from element {offset} "
                f"on, in a storage of {storage.size}: it is damaged"
            )
        return Tensor(storage, offset, shape, strides)


class _NumberType(NamedTuple):
    """Stands for numpy.dtype(name): the learning rate in a PyTorch file may be a NumPy scalar."""

    name: str

    def set_state(self, state: Any) -> None:
        if type(state) is not tuple or state[1] not in ("<", "|"):
            raise UserError(
                f"the file holds a NumPy number of type {self.name} with state {quoted(state)}"
            )


class _DType:
    __slots__ = ()

    def __call__(self, name: Any, *_flags: Any) -> _NumberType:
        if name not in ("f8", "f4", "i8", "i4"):
            raise UserError(
                f"the file asks for the NumPy type {quoted(name)}; expected a plain number"
            )
        return _NumberType(name)


class _Scalar:
    __slots__ = ()

    def __call__(self, dtype: Any, data: Any) -> float | int:
        if type(dtype) is not _NumberType or type(data) is not bytes:
            raise UserError("the file holds a NumPy number that is none")
        (number,) = np.frombuffer(data, "<" + dtype.name)
        return number.item()


class _Encode:
    """Stands for _codecs.encode(text, "latin1"), by which protocol 2 writes bytes."""

    __slots__ = ()

    def __call__(self, text: Any, encoding: Any) -> bytes:
        if type(text) is not str or encoding != "latin1":
            raise UserError(f"the file asks for a text in the encoding {quoted(encoding)}")
        return text.encode("latin1")


_STORAGE_DTYPES = {
    "Double": "<f8", "Float": "<f4", "Half": "<f2", "BFloat16": np.dtype(jnp.bfloat16).name, "Long": "<i8", "Int": "<i4", "Short": "<i2",
    "Char": "<i1", "Byte": "<u1", "Bool": "<u1",
}  # fmt: skip
ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _OrderedDict(),
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    ("numpy", "dtype"): _DType(),
    ("numpy.core.multiarray", "scalar"): _Scalar(),
    ("numpy._core.multiarray", "scalar"): _Scalar(),  # its name since NumPy 2
    ("_codecs", "encode"): _Encode(),
} | {
    ("torch", f"{kind}Storage"): StorageType(f"torch.{kind}Storage", dtype)
    for kind, dtype in _STORAGE_DTYPES.items()
}


def load(stream: BinaryIO, check_storage: Callable[[Storage], None]) -> Any:
    """Load the object of the next pickle of a stream, and leave the stream at the end of that pickle.

    Args:
      stream: positioned at the start of a pickle.
      check_storage: raises UserError for a storage that the file does not have.

    Raises:
      UserError: the pickle asks for anything that a checkpoint does not need, or is damaged.
    """
    start = stream.tell()
    program = io.BytesIO(stream.read(MAX_BYTES))
    try:
        value = Machine(allowed, lambda pid: storage_of(pid, check_storage)).run(program)
    except UserError:
        raise
    except Exception as error:  # damaged bytes may raise anything
        raise UserError(
            f"the file is damaged, or no PyTorch checkpoint ({type(error).__name__}: {error})"
        ) from error
    stream.seek(start + program.tell())
    return value


def allowed(module: str, name: str) -> Any:
    """The stand-in for a name.

    Raises:
      UserError: the name is not allowed.
    """
    if (module, name) not in ALLOWED:
        raise UserError(
            f"the file asks for {module}.{name}, which no checkpoint needs; it is not read"
        )
    return ALLOWED[module, name]


def storage_of(pid: Any, check_storage: Callable[[Storage], None]) -> Storage:
    """The storage in the file that a persistent id refers to; UserError if there is none."""
    # The sixth entry exists only in the old format: None, or a view of another storage.
    if type(pid) is not tuple or len(pid) not in (5, 6) or pid[5:] not in ((), (None,)):
        raise UserError("the file refers to something that is no storage")
    kind, storage_type, key, _device, size = pid[:5]
    is_storage = kind == "storage" and type(storage_type) is StorageType and type(key) is str
    if not is_storage or not _are_sizes((size,)):
        raise UserError(f"the file refers to {quoted(kind)} of {quoted(key)}, which is no storage")
    storage = Storage(key, storage_type.dtype, size)
    check_storage(storage)
    return storage


def _are_sizes(numbers: Any) -> bool:
    return (
        type(numbers) is tuple
        and len(numbers) <= MAX_AXES
        and all(type(n) is int and 0 <= n < 2**63 for n in numbers)
    )
