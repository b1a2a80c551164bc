"""DINOv2's weights from a file, with a small network of the same names; and recognition of the network."""

import dataclasses

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from score_sde.errors import UserError
from score_sde.features.dinov2_weights import DINOV2
from score_sde.features.inception_weights import INCEPTION
from score_sde.features.weights_file import read_weights
from score_sde.foreign_weights import torch_write
from tests.features.test_dinov2 import drawn_small, small_parameters

SMALL = dataclasses.replace(DINOV2, parameters=small_parameters, unused={"mask_token": (1, 32)})


@pytest.fixture(scope="module")
def drawn():
    return drawn_small(0)


@pytest.fixture
def write(tmp_path):
    def written(contents):
        torch_write.save(tmp_path / "vit.pth", contents)
        return tmp_path / "vit.pth"

    return written


def test_every_array_comes_back_and_the_network_is_known_by_its_names(write, drawn):
    """Except the mask token, which is only used in training."""
    public, params, facts = read_weights(write(drawn), (INCEPTION, SMALL))
    assert public is SMALL
    assert (facts["network"], facts["is_public_file"]) == ("dinov2-vitl14", False)
    leaves = {".".join(path): array for path, array in flatten_dict(params).items()}
    assert len(leaves) == len(drawn) - 1
    layouts = {4: ("kernel", (2, 3, 1, 0)), 2: ("kernel", (1, 0)), 1: ("scale", (0,))}
    for name, array in drawn.items():
        layer, _, last = name.rpartition(".")
        if last == "weight":
            leaf, axes = layouts[array.ndim]
            name, array = f"{layer}.{leaf}", array.transpose(axes)
        if name != "mask_token":
            np.testing.assert_array_equal(leaves[name], array, err_msg=name, strict=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w | {"register_tokens": w["mask_token"][None]}, r"1 arrays differ .*register_tokens: the file \(1, 1, 32\), DINOv2 absent"),
        (lambda w: {k: v for k, v in w.items() if k != "blocks.2.ls1.gamma"}, r"blocks.2.ls1.gamma: the file absent, DINOv2 \(32,\)"),
        (lambda w: w | {"pos_embed": w["pos_embed"][:, :257]}, r"pos_embed: the file \(1, 257, 32\), DINOv2 \(1, 1370, 32\)"),
        (lambda w: w | {"norm.bias": w["norm.bias"] * np.nan}, "norm.bias .* 32 of 32 values .* nan"),
        (lambda w: w | {"cls_token": w["cls_token"].astype(np.float64)}, "cls_token of the file is float64"),
    ],
)  # fmt: skip
def test_files_of_other_things(write, drawn, change, words):
    with pytest.raises(UserError, match=words):
        read_weights(write(change(drawn)), (INCEPTION, SMALL))


def test_a_smaller_network_of_the_same_kind_is_no_vit_l(write, drawn):
    """All of its shapes differ; the message names the file that is needed."""
    with pytest.raises(UserError, match="another network than DINOv2's ViT-L/14") as raised:
        read_weights(write(drawn), (INCEPTION, DINOV2))
    for words in (
        "343 arrays differ",
        "blocks.0.attn.proj.bias: the file (32,), DINOv2 (1024,)",
        "dinov2_vitl14_pretrain.pth, 1.2 GB",
        "pt_inception-2015-12-05-6726825d.pth, 96 MB",
    ):
        assert words in str(raised.value)


def test_a_file_of_neither_is_said_to_be_so(write):
    with pytest.raises(UserError, match="another network than FID's Inception: 474 arrays differ"):
        read_weights(write({"a": np.zeros(3, np.float32), "b": np.zeros(2, np.float32)}), (INCEPTION, SMALL))  # fmt: skip
