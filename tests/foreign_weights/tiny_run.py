"""The recorded training run of a tiny network, and its checkpoint as written by the published code.

train_ve_tiny.npz: score_sde_pytorch, commit cb1f359, eight updates. tiny_checkpoint.pth: its save_checkpoint
after six. tiny_checkpoint_expected.npz: outputs of the network at that point. Images there are (b, c, h, w).
"""

import json
from pathlib import Path

import numpy as np

from score_sde.configs.default import get_config
from score_sde.foreign_weights.restricted_pickle import Tensor
from score_sde.foreign_weights.torch_file import open_zip

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = GOLDEN / "tiny_checkpoint.pth"


def config_from_json(text):
    """Our defaults with what the published config sets."""
    config = get_config()
    for section, fields in json.loads(text).items():
        known = {name: value for name, value in fields.items() if name in config[section]}
        config[section].update(
            {name: type(config[section][name])(value) for name, value in known.items()}
        )
    config.sde.name = json.loads(text)["training"]["sde"].removesuffix("sde")
    return config


def nhwc(x):
    return np.moveaxis(x, -3, -1)


def contents_in_arrays(path):
    """What a PyTorch file of the zip format holds, with arrays in the place of tensors."""
    with open_zip(path) as file:
        return in_arrays(file, file.contents)


def in_arrays(file, value):
    if isinstance(value, Tensor):
        return file.array(value)
    if isinstance(value, dict):
        return {name: in_arrays(file, item) for name, item in value.items()}
    if isinstance(value, list):
        return [in_arrays(file, item) for item in value]
    return value


def assert_trees_equal(a, b):
    flat_a, flat_b = (dict(flatten(tree)) for tree in (a, b))
    assert flat_a.keys() == flat_b.keys()
    for name, leaf in flat_a.items():
        assert leaf.dtype == flat_b[name].dtype
        np.testing.assert_array_equal(leaf, flat_b[name], err_msg=name)


def flatten(tree, path=()):
    if not isinstance(tree, dict):
        yield path, np.asarray(tree)
        return
    for name, value in tree.items():
        yield from flatten(value, (*path, name))
