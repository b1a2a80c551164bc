"""Weights of published networks, read from the PyTorch files in which they are distributed.

Nothing is downloaded, and the file is read without PyTorch and without executing its contents (foreign_weights/torch_file.py). The
modules of our networks have the names used in the file, which identify each parameter; only leaf names and layouts differ.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from score_sde.errors import UserError
from score_sde.foreign_weights import torch_file
from score_sde.foreign_weights.names import Leaf, Parameter, to_tree
from score_sde.foreign_weights.record import check_float32
from score_sde.foreign_weights.restricted_pickle import Tensor
from score_sde.foreign_weights.torch_file import TorchFile
from score_sde.quoting import printable

# HWIO -> OIHW, (in, out) -> (out, in); other arrays keep their layout.
_AXES = {4: (3, 2, 0, 1), 2: (1, 0)}
_COUNTS = ".num_batches_tracked"  # used only in training
_SHOWN = 4  # differences listed in a message
_OPEN = {
    torch_file.ZIP_MAGIC: torch_file.open_zip,
    torch_file.STREAM_MAGIC: torch_file.open_stream,
}


@dataclasses.dataclass(frozen=True, eq=False)
class PublicFile:
    """A public file of weights, used by everybody who reports comparable figures."""

    network: str
    """Identifier of the network in records."""
    name: str
    """Short name for messages."""
    title: str
    """Full name for messages."""
    sha256: str
    where: str
    """Which file it is and where to find it, for messages."""
    parameters: Callable[[], tuple[Parameter, ...]]
    """Returns the network's parameters, with our names and those of the file."""
    unused: dict[str, tuple[int, ...]]
    """Arrays in the file that are not used, with their shapes."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all arrays in the file, by name."""
        return {p.name: p.shape for p in self.parameters()} | self.unused

    @property
    def most_bytes(self) -> int:
        """Size limit of the file; a larger one belongs to another network."""
        return 2 * sum(4 * math.prod(p.shape) for p in self.parameters())


def parameters_of(
    network: nn.Module, image: tuple[int, ...], name_of: Callable[[Leaf], str]
) -> tuple[Parameter, ...]:
    """A network's parameters, with our names and those of the file, from shapes alone.

    Args:
      network: the network.
      image: shape of its input.
      name_of: returns the name in the file of one of our parameters.
    """
    example = jax.ShapeDtypeStruct(image, jnp.float32)
    tree = jax.eval_shape(network.init, jax.random.key(0), example)["params"]
    found = []
    for leaf, array in flatten_dict(tree).items():
        own = tuple(range(array.ndim))
        axes = _AXES[array.ndim] if leaf[-1] == "kernel" else own
        shape = tuple(array.shape[axis] for axis in axes)
        found.append(Parameter(name_of(leaf), leaf, shape, axes, trained=False))
    return tuple(found)


def read_weights(
    path: Path | str, known: Sequence[PublicFile]
) -> tuple[PublicFile, dict[str, Any], dict[str, Any]]:
    """Read the weights in a file, with facts about it for the record.

    Args:
      path: the file.
      known: networks whose file it may be; the one that shares most names with the file is taken.

    Returns:
      public: the element of `known`.
      params: the parameters of its network, NumPy float32.
      facts: {"network", "file", "sha256", "is_public_file"}; the last tells whether the SHA-256 is that of the public file. Other files with the
        same names and shapes (the public one saved again, or one's own weights) are read too, but figures are comparable only for equal weights.

    Raises:
      UserError: the file is missing, not in a PyTorch format or damaged, holds anything but arrays, belongs to another network, or has values
        that cannot result from training.
    """
    path, where = Path(path), "; or ".join(public.where for public in known)
    whose = " or ".join(f"{public.name}'s" for public in known)
    try:
        with open(path, "rb") as file:
            _check_size(path, path.stat().st_size, max(known, key=lambda of: of.most_bytes), where)
            start = file.read(64)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        opened = [opener for magic, opener in _OPEN.items() if start.startswith(magic)]
        if not opened:
            raise UserError(
                f"{path} is no file of PyTorch's (it begins with {start[:8]!r}); expected {whose} weights: {where}"
            )
        with opened[0](path) as contents:
            if not isinstance(contents.contents, dict):
                raise UserError(
                    f"{path} holds no arrays by name; expected {whose} weights: {where}"
                )
            tensors = _tensors(contents.contents)
            public = max(known, key=lambda of: len(of.shapes.keys() & tensors.keys()))
            params = _params(path, contents, tensors, public, where)
    except UserError as error:  # the message may quote the file
        raise UserError(printable(str(error))) from error
    except OSError as error:
        raise UserError(
            f"cannot read {whose} weights from {path} ({error.strerror or error}): {where}"
        ) from error
    facts = {
        "network": public.network,
        "file": path.name,
        "sha256": digest,
        "is_public_file": digest == public.sha256,
    }
    return public, params, facts


def _check_size(path: Path, size: int, largest: PublicFile, where: str) -> None:
    """Refuse, before reading it, a file far larger than the weights of any known network."""
    if size > largest.most_bytes:
        raise UserError(
            f"{path} has {size:,} bytes, {largest.name}'s weights at most {largest.most_bytes:,}: it is of another network; {where}"
        )


def _tensors(contents: dict[Any, Any]) -> dict[str, Tensor]:
    """The arrays by name, except for counts of batches."""
    return {
        name: value
        for name, value in contents.items()
        if isinstance(name, str) and isinstance(value, Tensor) and not name.endswith(_COUNTS)
    }


def _params(
    path: Path, file: TorchFile, tensors: dict[str, Tensor], public: PublicFile, where: str
) -> dict[str, Any]:
    _check_names(path, tensors, public, where)
    check_float32(tensors)
    every = list(public.parameters())
    arrays = {p.name: file.array(tensors[p.name]) for p in every}
    for name, array in arrays.items():
        bad = ~np.isfinite(array) | (name.endswith("running_var") & (array < 0))
        if bad.any():
            raise UserError(
                f"{name} of {path} has {bad.sum()} of {bad.size} values that no training gives, the first of them {array[bad][0]}: it is damaged"
            )
    return to_tree(every, arrays)


def _check_names(path: Path, tensors: dict[str, Tensor], public: PublicFile, where: str) -> None:
    """Refuse arrays whose names or shapes are not those of the network."""
    given, expected = {name: tensor.shape for name, tensor in tensors.items()}, public.shapes
    different = [
        f"{name}: the file {given.get(name, 'absent')}, {public.name} {expected.get(name, 'absent')}"
        for name in sorted(given.keys() | expected.keys())
        if given.get(name) != expected.get(name)
    ]
    if different:
        more = "; ..." if len(different) > _SHOWN else ""
        raise UserError(
            f"{path} holds another network than {public.title}: {len(different)} arrays differ in name or shape ("
            + "; ".join(different[:_SHOWN])
            + f"{more}); {where}"
        )
