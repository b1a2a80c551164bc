"""The weights of DINOv2's ViT-L/14, from the file that its repository downloads with torch.hub."""

from __future__ import annotations

import functools

from score_sde.features.dinov2 import SIDE, WIDTH, DINOv2
from score_sde.features.weights_file import PublicFile, parameters_of
from score_sde.foreign_weights.names import Leaf, Parameter

PUBLIC_FILE = "dinov2_vitl14_pretrain.pth"
# Hash of its 1,217,586,395 bytes. Hash and size are those in the Git LFS pointers of the file's public copies, such as
# huggingface.co/junjiexv/dinov2_vit at 1a7ac70 and huggingface.co/alexgenovese/reica_clothes at d77bff4.
PUBLIC_SHA256 = "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"
WHERE = (
    f"it is the public file {PUBLIC_FILE}, 1.2 GB, which the README of facebookresearch/dinov2 names (ViT-L/14 distilled, without registers: "
    "dl.fbaipublicfiles.com/dinov2/dinov2_vitl14); nothing is downloaded here, so fetch it and give its path"
)

_LEAVES = {"kernel": "weight", "scale": "weight"}


@functools.cache
def parameters() -> tuple[Parameter, ...]:
    """The network's parameters, with our names and those of the file."""
    return parameters_of(DINOv2(), (1, SIDE, SIDE, 3), name)


def name(leaf: Leaf) -> str:
    """The name of one of our parameters in the file."""
    return ".".join((*leaf[:-1], _LEAVES.get(leaf[-1], leaf[-1])))


DINOV2 = PublicFile(
    network="dinov2-vitl14",
    name="DINOv2",
    title="DINOv2's ViT-L/14",
    sha256=PUBLIC_SHA256,
    where=WHERE,
    parameters=parameters,
    unused={"mask_token": (1, WIDTH)},  # used only in training
)
