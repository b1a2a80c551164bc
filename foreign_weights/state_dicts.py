"""Names and layouts of parameters in the PyTorch state dicts of ADM, EDM, EDM2, DiT and U-ViT.

Ours have the same names with an underscore before a number where those have a dot. Some arrays of theirs are others here: a
convolution over single positions, or one whose step is its kernel, is a linear map; and DiT's fixed table of positions and EDM's
filters are no parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from score_sde.data.image_shape import sides
from score_sde.errors import UserError
from score_sde.foreign_weights.names import Leaf

CONSTANTS = ("pos_embed", "resample_filter")  # last parts of the names of what is no parameter here
WITHIN = "unet."  # EDM2's network beside its log-variance
# Names that follow no rule: of the frequencies of Fourier features, which by their own training leaves alone.
NAMED = {("GaussianFourierProjection_0", "W"): "map_noise.freqs"}

_LAST = {"kernel": "weight", "scale": "weight", "table": "weight"}


def published_name(leaf: Leaf) -> str:
    """As blocks.0.attn.qkv.weight, of ("blocks_0", "attn", "qkv", "kernel")."""
    if leaf in NAMED:
        return NAMED[leaf]
    *path, last = leaf
    dotted = [re.sub(r"_(\d)", r".\1", part) for part in path]
    if path == ["y_embedder"]:
        dotted.append("embedding_table")
    return ".".join((*dotted, _LAST.get(last, last)))


def params_of(network: Any, state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The network's parameters, in the state dict's dtype.

    Raises:
      UserError: as `arranged`.
    """
    return arranged(_shapes(network), state_dict)


def arranged(
    shapes: Mapping[Leaf, tuple[int, ...]], state_dict: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Parameters of these names and shapes.

    Raises:
      UserError: arrays are missing, are none of this network's, or have another shape.
    """
    leaves = {published_name(leaf): (leaf, shape) for leaf, shape in shapes.items()}
    given = {
        name: array
        for name, array in ((full.removeprefix(WITHIN), of) for full, of in state_dict.items())
        if name in leaves or name.rpartition(".")[2] not in CONSTANTS
    }
    if given.keys() != leaves.keys():
        missing, others = sorted(leaves.keys() - given.keys()), sorted(given.keys() - leaves.keys())
        raise UserError(
            f"not the weights of this network: missing {_some(missing)}; not expected {_some(others)}. Are its blocks, "
            "its classes and the network's other fields those of the file?"
        )
    return unflatten_dict(
        {leaf: _ours(name, given[name], leaf, shape) for name, (leaf, shape) in leaves.items()}
    )


def _shapes(network: Any) -> dict[Leaf, tuple[int, ...]]:
    image = (1, *sides(network.image_size, network.image_width), network.num_channels)
    example = jax.ShapeDtypeStruct(image, jnp.float32), jax.ShapeDtypeStruct((1,), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), *example)
    return {leaf: array.shape for leaf, array in flatten_dict(variables["params"]).items()}


def _ours(name: str, array: np.ndarray, leaf: Leaf, shape: tuple[int, ...]) -> np.ndarray:
    """Kernels: outputs, which come first there, last; and of a patch (channel, row, column) as (row, column, channel)."""
    found = array
    if leaf[-1] in ("kernel", "weight"):
        found = np.moveaxis(array, 0, -1)
        if found.ndim == 4:
            found = np.moveaxis(found, 0, 2)
        if len(shape) == 2:
            found = found.reshape(-1, found.shape[-1])
    if found.shape != shape:
        raise UserError(
            f"{name} has shape {array.shape}, which would be {found.shape} here; expected {shape}. Are its width "
            "and the network's other fields those of the file?"
        )
    return found


def _some(names: list[str]) -> str:
    """The first few."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "") or "none"
