"""Reading the pickle inside a PyTorch file without running anything that it names.

A pickle is a program: it imports objects by name and calls them. Here a name can only mean one of a few
inert stand-ins for what a checkpoint of arrays needs; any other is refused before it is looked up, and PyTorch
need not be installed. The stand-ins have no attributes, so nothing in a file can alter them either. The program itself
is run by pickle_machine.py.
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
    """What a name such as torch.FloatStorage stands for."""

    name: str
    dtype: str  # as NumPy writes it, little-endian


class Storage(NamedTuple):
    """Numbers in the file, not yet read."""

    key: str
    dtype: str
    size: int  # in elements


class Tensor(NamedTuple):
    """A view of a storage, within its bounds, not yet read. Offset and strides are in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.storage.dtype)


class _Dict(dict):
    """An OrderedDict whose attributes, such as the versions of a state dict, are left in the file."""

    __slots__ = ()

    def set_state(self, state: Any) -> None:
        pass


class _OrderedDict:
    __slots__ = ()

    def __call__(self) -> _Dict:
        return _Dict()


class _RebuildTensor:
    """torch._utils._rebuild_tensor_v2, which refuses a view that leaves its storage or is larger than it."""

    __slots__ = ()

    def __call__(
        self, storage: Any, offset: Any, shape: Any, strides: Any, *_about_gradients: Any
    ) -> Tensor:
        if type(storage) is not Storage or not (_are_sizes(shape) and _are_sizes(strides)):
            raise UserError("the file holds a tensor that is not an array of numbers")
        last = sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        # The number of elements, too: a stride of 0 would make a small file an array of any size.
        inside = math.prod(shape) <= storage.size and offset + last < storage.size
        if not _are_sizes((offset,)) or (math.prod(shape) > 0 and not inside):
            raise UserError(
                f"the file holds a tensor of shape {shape} with strides {strides} from element {offset} "
                f"on, in a storage of {storage.size}: it is damaged"
            )
        return Tensor(storage, offset, shape, strides)


class _NumberType(NamedTuple):
    """numpy.dtype(name); PyTorch's learning rate may be a NumPy number."""

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
    """_codecs.encode(text, "latin1"): how protocol 2 writes bytes."""

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
    """The object that the next pickle of a stream describes; the stream stands behind it afterwards.

    Args:
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
    except Exception as error:  # nobody says what damaged bytes raise
        raise UserError(
            f"the file is damaged, or no PyTorch checkpoint ({type(error).__name__}: {error})"
        ) from error
    stream.seek(start + program.tell())
    return value


def allowed(module: str, name: str) -> Any:
    """What a name stands for.

    Raises:
      UserError: nothing.
    """
    if (module, name) not in ALLOWED:
        raise UserError(
            f"the file asks for {module}.{name}, which no checkpoint needs; it is not read"
        )
    return ALLOWED[module, name]


def storage_of(pid: Any, check_storage: Callable[[Storage], None]) -> Storage:
    """What a persistent id, a reference to the rest of the file, stands for."""
    # The last entry is there in the old format only: None, or a view of another storage.
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
