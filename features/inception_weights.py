"""The weights of FID's InceptionV3, from the file that pytorch-fid and torch-fidelity download."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from score_sde.features.inception import OUTPUTS, SIDE, InceptionV3
from score_sde.features.weights_file import PublicFile, parameters_of, read_weights
from score_sde.foreign_weights.names import Leaf, Parameter

PUBLIC_FILE = "pt_inception-2015-12-05-6726825d.pth"
# Hash of its 95,628,359 bytes; PyTorch puts the first eight digits into the file name. Hash and size are those in the Git LFS pointers of the
# file's public copies, such as huggingface.co/RaphaelLiu/EvalCrafter-Models at 6040b4d.
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


@functools.cache
def parameters() -> tuple[Parameter, ...]:
    """The network's parameters, with our names and those of the file."""
    return parameters_of(InceptionV3(), (1, SIDE, SIDE, 3), _name)


def _name(leaf: Leaf) -> str:
    return ".".join((*leaf[:-2], _LEAVES[leaf[-2:]]))


INCEPTION = PublicFile(
    network="inception-2015-12-05",
    name="Inception",
    title="FID's Inception",
    sha256=PUBLIC_SHA256,
    where=WHERE,
    parameters=parameters,
    unused={"fc.bias": (OUTPUTS,)},  # IS uses logits without it
)


def load_inception(path: Path | str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the weights for `inception_features` from a file, with facts about it; see `read_weights`."""
    _, params, facts = read_weights(path, (INCEPTION,))
    return params, facts
