"""The weights of FID's InceptionV3, from the file that pytorch-fid and torch-fidelity download.

Nothing is downloaded here, and the file is read without PyTorch and without running what is in it (foreign_weights/torch_file.py). Its
names are those of the network's modules, so that each parameter is found by its own; only leaves and layouts differ.
"""

from __future__ import annotations

import functools
import hashlib
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from score_sde.errors import UserError
from score_sde.features.inception import OUTPUTS, SIDE, InceptionV3
from score_sde.foreign_weights import torch_file
from score_sde.foreign_weights.names import Parameter, to_tree
from score_sde.foreign_weights.record import check_float32
from score_sde.foreign_weights.restricted_pickle import Tensor
from score_sde.foreign_weights.torch_file import TorchFile
from score_sde.quoting import printable

PUBLIC_FILE = "pt_inception-2015-12-05-6726825d.pth"
# Of its 95,628,359 bytes; PyTorch puts the first eight digits into a file's name. Both figures stand in the Git LFS pointers of the file's
# public copies, such as huggingface.co/RaphaelLiu/EvalCrafter-Models at 6040b4d.
PUBLIC_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
WHERE = (
    f"it is the public file {PUBLIC_FILE}, 96 MB, of the releases of mseitzer/pytorch-fid (torch-fidelity's weights-inception-2015-12-05-"
    "6726825d.pth is the same); nothing is downloaded here, so fetch it and give its path"
)

_LEAVES: dict[tuple[str, ...], str] = {
    ("conv", "kernel"): "conv.weight",
    ("bn", "scale"): "bn.weight",
    ("bn", "bias"): "bn.bias",
    ("bn", "mean"): "bn.running_mean",
    ("bn", "var"): "bn.running_var",
    ("fc", "kernel"): "fc.weight",
}
# HWIO -> OIHW, (in, out) -> (out, in).
_AXES = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
# In the file but without a part in what is computed: IS is of logits without the bias, and counts of batches are of training.
_BIAS, _BIAS_SHAPE = "fc.bias", (OUTPUTS,)
_COUNTS = ".num_batches_tracked"
_SHOWN = 4  # differences
_OPEN = {
    torch_file.ZIP_MAGIC: torch_file.open_zip,
    torch_file.STREAM_MAGIC: torch_file.open_stream,
}


def load_inception(path: Path | str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights in a file, and what it was, for a record of the figures that come of them.

    Returns:
      params: of `inception_features`, NumPy's float32.
      facts: {"network", "file", "sha256", "is_public_file"}, of which the last says that its SHA-256 is that of the public file. Another file of
        the same names and shapes (the public one saved again, or weights of one's own) is read too, and FID by other weights is another number.

    Raises:
      UserError: no such file, of no format of PyTorch's, damaged, with anything in it but arrays, of another network, or with values that no
        training gives.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            _check_size(path, path.stat().st_size)
            start = file.read(64)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        opened = [opener for magic, opener in _OPEN.items() if start.startswith(magic)]
        if not opened:
            raise UserError(
                f"{path} is no file of PyTorch's (it begins with {start[:8]!r}); expected Inception's weights: {WHERE}"
            )
        with opened[0](path) as contents:
            params = _params(path, contents)
    except UserError as error:  # which may quote the file
        raise UserError(printable(str(error))) from error
    except OSError as error:
        raise UserError(
            f"cannot read Inception's weights from {path} ({error.strerror or error}): {WHERE}"
        ) from error
    facts = {
        "network": "inception-2015-12-05",
        "file": path.name,
        "sha256": digest,
        "is_public_file": digest == PUBLIC_SHA256,
    }
    return params, facts


@functools.cache
def parameters() -> tuple[Parameter, ...]:
    """The network's parameters under both their names, found without computing anything."""
    image = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32)
    tree = jax.eval_shape(InceptionV3().init, jax.random.key(0), image)["params"]
    return tuple(_parameter(leaf, array.shape) for leaf, array in flatten_dict(tree).items())


def _parameter(leaf: tuple[str, ...], shape: tuple[int, ...]) -> Parameter:
    axes = _AXES[len(shape)]
    name = ".".join((*leaf[:-2], _LEAVES[leaf[-2:]]))
    return Parameter(name, leaf, tuple(shape[axis] for axis in axes), axes, trained=False)


def _check_size(path: Path, size: int) -> None:
    """Refuse, before any of it is read, a file in which these weights would be lost."""
    most = 2 * sum(4 * math.prod(p.shape) for p in parameters())
    if size > most:
        raise UserError(
            f"{path} has {size:,} bytes, Inception's weights at most {most:,}: it is of another network; {WHERE}"
        )


def _params(path: Path, file: TorchFile) -> dict[str, Any]:
    if not isinstance(file.contents, dict):
        raise UserError(f"{path} holds no arrays by name; expected Inception's weights: {WHERE}")
    tensors = {
        name: value
        for name, value in file.contents.items()
        if isinstance(name, str) and isinstance(value, Tensor) and not name.endswith(_COUNTS)
    }
    every = list(parameters())
    _check_names(path, tensors, {p.name: p.shape for p in every} | {_BIAS: _BIAS_SHAPE})
    check_float32(tensors)
    arrays = {p.name: file.array(tensors[p.name]) for p in every}
    for name, array in arrays.items():
        bad = ~np.isfinite(array) | (name.endswith("running_var") & (array < 0))
        if bad.any():
            raise UserError(
                f"{name} of {path} has {bad.sum()} of {bad.size} values that no training gives, the first of them {array[bad][0]}: it is damaged"
            )
    return to_tree(every, arrays)


def _check_names(
    path: Path, tensors: dict[str, Tensor], expected: dict[str, tuple[int, ...]]
) -> None:
    """Refuse another network's arrays."""
    given = {name: tensor.shape for name, tensor in tensors.items()}
    different = [
        f"{name}: the file {given.get(name, 'absent')}, Inception {expected.get(name, 'absent')}"
        for name in sorted(given.keys() | expected.keys())
        if given.get(name) != expected.get(name)
    ]
    if different:
        more = "; ..." if len(different) > _SHOWN else ""
        raise UserError(
            f"{path} holds another network than FID's Inception: {len(different)} arrays differ in name or shape ("
            + "; ".join(different[:_SHOWN])
            + f"{more}); {WHERE}"
        )
