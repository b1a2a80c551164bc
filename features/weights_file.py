"""Weights of a published network from the PyTorch file in which others download them.

Nothing is downloaded here, and the file is read without PyTorch and without running what is in it (foreign_weights/torch_file.py). The
modules of our networks bear the names of the file's, so that each parameter is found by its own; only leaves and layouts differ.
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

# HWIO -> OIHW, (in, out) -> (out, in); others as they are.
_AXES = {4: (3, 2, 0, 1), 2: (1, 0)}
_COUNTS = ".num_batches_tracked"  # of training
_SHOWN = 4  # differences
_OPEN = {
    torch_file.ZIP_MAGIC: torch_file.open_zip,
    torch_file.STREAM_MAGIC: torch_file.open_stream,
}


@dataclasses.dataclass(frozen=True, eq=False)
class PublicFile:
    """A file that everybody who compares figures has."""

    network: str
    """For a record."""
    name: str
    """For a message ..."""
    title: str
    """... and what is meant by it."""
    sha256: str
    where: str
    """Which file it is, and where it is found."""
    parameters: Callable[[], tuple[Parameter, ...]]
    """The network's, under both their names."""
    unused: dict[str, tuple[int, ...]]
    """Arrays in the file that have no part in what is computed, with their shapes."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all arrays in the file."""
        return {p.name: p.shape for p in self.parameters()} | self.unused

    @property
    def most_bytes(self) -> int:
        """More than this is of another network."""
        return 2 * sum(4 * math.prod(p.shape) for p in self.parameters())


def parameters_of(
    network: nn.Module, image: tuple[int, ...], name_of: Callable[[Leaf], str]
) -> tuple[Parameter, ...]:
    """A network's parameters under both their names, found without computing anything.

    Args:
      image: the shape of what it is called with.
      name_of: the file's name of one of our parameters.
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
    """The weights in a file, and what it was, for a record of the figures that come of them.

    Args:
      known: networks whose file it may be; it is taken for that of the one with which it shares most names.

    Returns:
      public: of `known`.
      params: of its network, NumPy's float32.
      facts: {"network", "file", "sha256", "is_public_file"}, of which the last says that its SHA-256 is that of the public file. Another file of
        the same names and shapes (the public one saved again, or weights of one's own) is read too, and figures by other weights are other figures.

    Raises:
      UserError: no such file, of no format of PyTorch's, damaged, with anything in it but arrays, of another network, or with values that no
        training gives.
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
    except UserError as error:  # which may quote the file
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
    """Refuse, before any of it is read, a file in which these weights would be lost."""
    if size > largest.most_bytes:
        raise UserError(
            f"{path} has {size:,} bytes, {largest.name}'s weights at most {largest.most_bytes:,}: it is of another network; {where}"
        )


def _tensors(contents: dict[Any, Any]) -> dict[str, Tensor]:
    """The arrays by name, without counts of batches."""
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
    """Refuse another network's arrays."""
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
