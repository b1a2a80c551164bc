"""Names and layouts of parameters in the PyTorch state dicts of ADM, EDM, EDM2, DiT and U-ViT, for import and export.

Our names are the same, with an underscore instead of a dot before a number. Some of their arrays have another form here: a 1x1
convolution, or one whose stride is its kernel size, is a linear map, and DiT's fixed table of positions and EDM's filters are not
parameters. Each network declares which of these apply (models/published.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from score_sde.data.image_shape import sides
from score_sde.errors import UserError
from score_sde.foreign_weights.names import Leaf
from score_sde.models.published import StateDict

# Names that follow no rule: the frequencies of Fourier features, which are not trained.
NAMED = {("GaussianFourierProjection_0", "W"): "map_noise.freqs"}

_LAST = {"kernel": "weight", "scale": "weight", "table": "weight"}
_KERNELS = ("kernel", "weight")
_SHOWN = 3
_ADVICE = "Do the config's width, blocks, classes and other fields of the network match the file?"

Shape = tuple[int, ...]


class Entry(NamedTuple):
    """A parameter, with its published name and ours."""

    name: str  # published, without the prefix of an enclosing module
    leaf: Leaf
    shape: Shape  # ours
    published_shape: Shape

    @property
    def _is_kernel(self) -> bool:
        return self.leaf[-1] in _KERNELS

    def ours(self, array: np.ndarray) -> np.ndarray:
        """Convert (outputs, inputs, *sides) to (*sides, inputs, outputs), flattened to (inputs, outputs) for a linear map."""
        if self._is_kernel:
            array = array.transpose(*range(2, array.ndim), 1, 0)
        return array.reshape(self.shape)

    def published(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `ours`."""
        if not self._is_kernel:
            return array
        outputs, inputs, *kernel = self.published_shape
        apart = array.reshape(*kernel, inputs, outputs)
        return apart.transpose(apart.ndim - 1, apart.ndim - 2, *range(apart.ndim - 2))


def published_name(leaf: Leaf) -> str:
    """The published name, such as blocks.0.attn.qkv.weight for ("blocks_0", "attn", "qkv", "kernel")."""
    if leaf in NAMED:
        return NAMED[leaf]
    *path, last = leaf
    dotted = [re.sub(r"_(\d)", r".\1", part) for part in path]
    if path == ["y_embedder"]:
        dotted.append("embedding_table")
    return ".".join((*dotted, _LAST.get(last, last)))


def entries(network: Any, num_channels: int) -> list[Entry]:
    """The parameters of a network for images with this number of channels, from shapes alone."""
    image = (1, *sides(network.image_size, network.image_width), num_channels)
    example = jax.ShapeDtypeStruct(image, jnp.float32), jax.ShapeDtypeStruct((1,), jnp.float32)
    leaves = flatten_dict(jax.eval_shape(network.init, jax.random.key(0), *example)["params"])
    form = network.state_dict
    found = []
    for leaf, array in leaves.items():
        name, shape = published_name(leaf), array.shape
        if leaf[-1] in _KERNELS:
            kernel = shape[:-2] or _sides(name, form)
            inputs = shape[-2] // (1 if shape[:-2] else math.prod(kernel))
            shape = (shape[-1], inputs, *kernel)
        found.append(Entry(name, leaf, array.shape, shape))
    return found


def _sides(name: str, form: StateDict) -> Shape:
    """Sides of the published kernel of a layer that is a linear map here; () if it is linear there too."""
    layer = f".{name.rpartition('.')[0]}"
    ends = {f".{end.lstrip('.')}": kernel for end, kernel in form.convolutions.items()}
    return next((kernel for end, kernel in ends.items() if layer.endswith(end)), ())


def full_name(form: StateDict, name: str) -> str:
    """The name in a published state dict, including the prefix of an enclosing module."""
    return name if name.startswith(form.beside) else form.within + name


class Matched(NamedTuple):
    """The entries of a state dict, by names without the prefix: arrays, or their descriptions in a file."""

    parameters: dict[str, Any]
    constants: dict[str, Any]
    """The constants of the network that are in the state dict."""
    left_out: dict[str, Any]
    lacks_no_class: bool
    """Whether the class embedding lacks the last row, which is for "no class"."""


def matched(form: StateDict, expected: Iterable[Entry], state_dict: Mapping[str, Any]) -> Matched:
    """Match the entries of a state dict, anything with a shape, to the parameters and constants of this network.

    Raises:
      UserError: with the first arrays that are missing, unexpected, or of another shape.
    """
    given: dict[str, Any] = {}
    for name, array in state_dict.items():
        short = name.removeprefix(form.within)
        if short in given:
            raise UserError(
                f"the file has {short} both with the prefix {form.within!r} and without it"
            )
        given[short] = array
    left_out = {name: given.pop(name) for name in form.left_out if name in given}
    constants = {name: given.pop(name) for name in form.constants if name in given}
    shapes = {entry.name: entry.published_shape for entry in expected}
    if given.keys() != shapes.keys():
        missing, others = sorted(shapes.keys() - given.keys()), sorted(given.keys() - shapes.keys())
        raise UserError(
            f"not the weights of this network: missing {_some(missing)}; not expected {_some(others)}. {_ADVICE}"
        )
    lacks = False
    if form.classes in given:
        rows, width = shapes[form.classes]
        lacks = tuple(given[form.classes].shape) == (rows - 1, width)
        shapes[form.classes] = (rows - lacks, width)
    shapes |= {name: array.shape for name, array in form.constants.items() if name in constants}
    wrong = [
        f"{name} has shape {tuple(array.shape)}, expected {shapes[name]}"
        for name, array in (given | constants).items()
        if tuple(array.shape) != shapes[name]
    ]
    if wrong:
        raise UserError(f"not the weights of this network: {_some(wrong, '; ')}. {_ADVICE}")
    return Matched(given, constants, left_out, lacks)


def to_tree(
    form: StateDict, expected: Iterable[Entry], arrays: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """The network's parameters from matched arrays. A missing embedding of "no class" is set to 0."""
    tree = {}
    for entry in expected:
        array = arrays[entry.name]
        if entry.name == form.classes and len(array) < entry.shape[0]:
            array = np.concatenate([array, np.zeros_like(array[:1])])
        tree[entry.leaf] = entry.ours(array)
    return unflatten_dict(tree)


def from_tree(
    form: StateDict, expected: Iterable[Entry], tree: Any, no_class: bool = True
) -> dict[str, np.ndarray]:
    """The published state dict of parameters, including its constants.

    Args:
      no_class: whether the class embedding has a last row for "no class"; networks trained without label dropout have none there.
    """
    leaves = flatten_dict(tree)
    arrays = {entry.name: entry.published(np.asarray(leaves[entry.leaf])) for entry in expected}
    if form.classes in arrays and not no_class:
        arrays[form.classes] = arrays[form.classes][:-1]
    arrays |= {name: np.asarray(array, np.float32) for name, array in form.constants.items()}
    return {full_name(form, name): array for name, array in arrays.items()}


def params_of(
    network: Any, state_dict: Mapping[str, np.ndarray], num_channels: int | None = None
) -> dict[str, Any]:
    """The network's parameters from a state dict in memory, keeping its dtype.

    Args:
      network: the network.
      state_dict: arrays by published name.
      num_channels: channels of the images; None: network.num_channels.

    Raises:
      UserError: as in `matched`.
    """
    form = network.state_dict
    expected = entries(network, network.num_channels if num_channels is None else num_channels)
    return to_tree(form, expected, matched(form, expected, state_dict).parameters)


def _some(names: list[str], between: str = ", ") -> str:
    """List the first few names, for a message."""
    more = f" and {len(names) - _SHOWN} more" if names[_SHOWN:] else ""
    return between.join(names[:_SHOWN]) + more or "none"
