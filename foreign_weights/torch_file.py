"""Reading of PyTorch files without PyTorch: the zip format (1.6 and later) and the older stream format."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from score_sde.errors import UserError
from score_sde.foreign_weights import restricted_pickle
from score_sde.foreign_weights.pickle_machine import MAX_BYTES
from score_sde.foreign_weights.restricted_pickle import Storage, Tensor
from score_sde.quoting import quoted

ZIP_MAGIC = b"PK\x03\x04"
# The pickled number 0x1950a86a20f9469cfc6c, which is the first of five pickles in the older format.
STREAM_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
STREAM_VERSION = 1001


class TorchFile:
    """The contents of a file of torch.save: dicts, lists and numbers, with a `Tensor`, not yet read, for each tensor."""

    def __init__(self, contents: Any, read_storage: Callable[[Storage], bytes]):
        self.contents = contents
        self._read_storage = read_storage

    def array(self, tensor: Tensor) -> np.ndarray:
        """Read the array of a tensor."""
        storage = np.frombuffer(self._read_storage(tensor.storage), tensor.storage.dtype)
        strides = tuple(stride * storage.itemsize for stride in tensor.strides)
        if storage.size == 0:
            return np.zeros(tensor.shape, storage.dtype)
        return np.ascontiguousarray(
            np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides)
        ).reshape(tensor.shape)  # ascontiguousarray turns a 0-d array into a vector


@contextmanager
def open_zip(path: Path) -> Iterator[TorchFile]:
    """Open a file of PyTorch 1.6 or later.

    Raises:
      UserError: not such a file, damaged, or with contents other than arrays and plain data.
    """
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # the directory at the file's end may hold anything
        raise UserError(f"{path} is damaged or cut short ({error})") from error
    with archive:
        yield _read_archive(path, archive)


def _read_archive(path: Path, archive: zipfile.ZipFile) -> TorchFile:
    records = {info.filename: info for info in archive.infolist()}
    for info in records.values():
        # PyTorch does not compress; a compressed entry could expand a thousandfold.
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise UserError(f"{path} has a compressed entry, {info.filename}: PyTorch writes none")
    pickles = [name for name in records if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise UserError(f"{path} is a zip file but no PyTorch checkpoint: it has no data.pkl")
    if records[pickles[0]].file_size > MAX_BYTES:
        raise UserError(
            f"{path} has a pickle of more than {MAX_BYTES:,} bytes beside its arrays: it is damaged"
        )
    root = pickles[0].removesuffix("data.pkl")

    def read(name: str) -> bytes:
        try:
            return archive.read(records[name])
        except Exception as error:  # may raise anything, as above: an entry has a header of its own
            raise UserError(f"{path} is damaged or cut short at {name} ({error})") from error

    def check_storage(storage: Storage) -> None:
        record = records.get(f"{root}data/{storage.key}")
        stored = -1 if record is None else record.file_size
        if stored != storage.size * np.dtype(storage.dtype).itemsize:
            raise UserError(
                f"{path} refers to a storage {storage.key!r} of {storage.size} numbers, but it has "
                + ("no such entry" if stored < 0 else f"{stored} bytes there")
            )

    if f"{root}byteorder" in records and read(f"{root}byteorder") != b"little":
        raise UserError(f"{path} was written on a big-endian machine, which is not supported")
    contents = restricted_pickle.load(io.BytesIO(read(pickles[0])), check_storage)
    return TorchFile(contents, lambda storage: read(f"{root}data/{storage.key}"))


@contextmanager
def open_stream(path: Path) -> Iterator[TorchFile]:
    """Open a file from before PyTorch 1.6: five pickles (magic, version, machine, contents, keys), then the storages.

    Raises:
      UserError: not such a file, damaged, or with contents other than arrays and plain data.
    """
    stream = io.BytesIO(path.read_bytes())
    referred: dict[str, Storage] = {}

    def no_storage(storage: Storage) -> None:
        raise UserError(f"{path} refers to a storage where no array can be")

    def note(storage: Storage) -> None:
        if referred.setdefault(storage.key, storage) != storage:
            raise UserError(f"{path} describes storage {storage.key} in two ways: it is damaged")

    _magic, version, machine = (restricted_pickle.load(stream, no_storage) for _ in range(3))
    if version != STREAM_VERSION or type(machine) is not dict or not machine.get("little_endian"):
        raise UserError(
            f"{path} has version {quoted(version)} of machine {quoted(machine)}: not supported"
        )
    contents = restricted_pickle.load(stream, note)
    keys = restricted_pickle.load(stream, no_storage)
    if type(keys) is not list or sorted(keys) != sorted(referred):
        raise UserError(f"{path} lists other storages than its arrays are in: it is damaged")
    data, places = stream.getbuffer(), {}
    for key in keys:
        start = stream.tell() + 8
        length = referred[key].size * np.dtype(referred[key].dtype).itemsize
        if data[start - 8 : start] != struct.pack("<q", referred[key].size) or (
            start + length > len(data)
        ):
            raise UserError(f"{path} is damaged or cut short at storage {key}")
        places[key] = slice(start, start + length)
        stream.seek(start + length)
    yield TorchFile(contents, lambda storage: bytes(data[places[storage.key]]))
