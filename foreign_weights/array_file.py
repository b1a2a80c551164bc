"""Files of named arrays in three formats: PyTorch state dict, safetensors and NumPy's .npz.

The format is recognized by the first bytes. Nothing in a file is executed. A bare pickle, the format in which EDM and EDM2 are published,
contains objects with the source code of their classes; it is refused before any of it is read.
"""

from __future__ import annotations

import functools
import shlex
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from score_sde.errors import UserError
from score_sde.foreign_weights import safetensors, torch_file
from score_sde.foreign_weights.restricted_pickle import Tensor
from score_sde.foreign_weights.stored import Stored
from score_sde.foreign_weights.torch_file import TorchFile
from score_sde.npz import array_header, check_claim
from score_sde.quoting import quoted

PICKLE_MAGIC = b"\x80"
# To be run with PyTorch installed, and with the program that the file belongs to on Python's path.
PICKLE_TO_NPZ = (
    "import sys, pickle, numpy; net = pickle.load(open(sys.argv[1], 'rb'))['ema']; "
    "numpy.savez(sys.argv[2], **{name: array.float().cpu().numpy() for name, array in net.state_dict().items()})"
)
_FLAT = "import sys, torch; torch.save(torch.load(sys.argv[1], map_location='cpu', weights_only=False)[{name!r}], sys.argv[2])"

Arrays = dict[str, Stored]


def refuse_pickle(path: Path, start: bytes) -> None:
    """Refuse a file of pickled objects, and explain how to convert it to one that holds only numbers.

    Raises:
      UserError: the first bytes are those of a pickle.
    """
    if start.startswith(PICKLE_MAGIC) and not start.startswith(torch_file.STREAM_MAGIC):
        raise UserError(
            f"{path} is a pickle of objects (EDM and EDM2 are published so), and to read one is to run the code in it: it is not read. "
            "If you trust it, write its arrays to a file of numbers where PyTorch and that program are installed (for EDM and EDM2 in "
            f'a checkout of theirs): python -c "{PICKLE_TO_NPZ}" {shlex.join(map(str, (path, path.with_suffix(".npz"))))}, and give that to --source'
        )


@contextmanager
def open_arrays(path: Path, start: bytes) -> Iterator[tuple[str, Arrays]]:
    """Open a file and yield its format and its arrays, which can be read as long as it is open.

    Args:
      path: the file.
      start: its first bytes.

    Raises:
      UserError: the format is unknown, or the file is damaged or holds anything but named arrays.
    """
    with _opener(path, start)(path) as found:
        yield found


def _opener(
    path: Path, start: bytes
) -> Callable[[Path], AbstractContextManager[tuple[str, Arrays]]]:
    if start.startswith(torch_file.STREAM_MAGIC):
        return functools.partial(_open_torch, "PyTorch before 1.6", torch_file.open_stream)
    if start.startswith(torch_file.ZIP_MAGIC):
        return _open_zip
    # safetensors has no magic number: a JSON object follows after a length of eight bytes.
    if path.suffix == ".safetensors" or start[8:9] == b"{":
        return _open_safetensors
    raise UserError(
        f"{path} is no file of arrays by name (it begins with {start[:8]!r}); expected a PyTorch state dict (.pt, .pth), .safetensors "
        "or NumPy's .npz"
    )


@contextmanager
def _open_safetensors(path: Path) -> Iterator[tuple[str, Arrays]]:
    with open(path, "rb") as file:
        yield "safetensors", safetensors.read(file, path)


@contextmanager
def _open_zip(path: Path) -> Iterator[tuple[str, Arrays]]:
    """Open a zip archive: NumPy's if every entry is an array, else PyTorch's."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception as error:  # the directory at the file's end may hold anything
        raise UserError(f"{path} is damaged or cut short ({error})") from error
    numpys = all(name.endswith(".npy") for name in names)
    opened = _open_npz if numpys else functools.partial(_open_torch, "PyTorch", torch_file.open_zip)
    with opened(path) as found:
        yield found


@contextmanager
def _open_npz(path: Path) -> Iterator[tuple[str, Arrays]]:
    with zipfile.ZipFile(path) as archive:

        def stored(member: str) -> Stored:
            try:
                check_claim(archive, member)
                shape, dtype, _ = array_header(archive, member)
            except Exception as error:  # damaged bytes may raise anything
                raise UserError(f"{path} is damaged ({error})") from error
            return Stored(shape, dtype, lambda: _npy(archive, member, path))

        yield "NumPy", {name.removesuffix(".npy"): stored(name) for name in archive.namelist()}


def _npy(archive: zipfile.ZipFile, member: str, path: Path) -> np.ndarray:
    try:
        with archive.open(member) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # as above
        raise UserError(f"{path} is damaged at {quoted(member)} ({error})") from error


@contextmanager
def _open_torch(
    name: str, opened: Callable[[Path], AbstractContextManager[TorchFile]], path: Path
) -> Iterator[tuple[str, Arrays]]:
    with opened(path) as file:
        yield name, _state_dict(path, file)


def _state_dict(path: Path, file: TorchFile) -> Arrays:
    """The arrays of a file that must hold nothing else.

    Raises:
      UserError: it holds anything else; if that is a dictionary, the message explains how to extract it.
    """
    contents: Any = file.contents
    if not isinstance(contents, dict):
        raise UserError(f"{path} holds no arrays by name but {quoted(contents)}")
    others = [name for name, value in contents.items() if not isinstance(value, Tensor)]
    if others:
        inside = next((n for n in ("ema", *others) if isinstance(contents.get(n), dict)), None)
        what = ""
        if isinstance(inside, str) and inside.isidentifier():  # it becomes part of a command
            paths = shlex.join([str(path), f"{path.with_suffix('')}-{inside}.pt"])
            what = f'; write the one to read to a file of its own: python -c "{_FLAT.format(name=inside)}" {paths}'
        raise UserError(
            f"{path} holds {', '.join(map(quoted, others[:3]))} beside or in place of arrays by name{what}"
        )

    def stored(tensor: Tensor) -> Stored:
        return Stored(tensor.shape, tensor.dtype, lambda: file.array(tensor))

    return {str(name): stored(tensor) for name, tensor in contents.items()}
