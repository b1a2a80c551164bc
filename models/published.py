"""Weights of the published PyTorch networks, by name.

A published network keeps its layers in one flat list, in the order in which it calls them: a parameter is
called `all_modules.{i}.{path inside the layer}`. A Flax network calls the same layers in the same order but
names them by class and number. So the two lists are walked side by side, and every name and every shape
must agree: a checkpoint read with the options of another network fails, and says where.
"""

import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

Leaf = tuple[str, ...]

_ENTRY = re.compile(r"(?:module\.)?all_modules\.(\d+)\.(.+)")
# A table of noise levels that the published networks save and that NCSNpp derives from its fields.
_BUFFERS = {"sigmas", "module.sigmas"}


def params_from_torch(network: nn.Module, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters for `network` from the state dict of the published PyTorch one.

    Args:
        network: an NCSNpp or DDPM with the options of the published network.
        state_dict: name -> array (NumPy, or anything `np.asarray` takes), in the published layouts:
            convolutions (out, in, h, w), dense layers (out, in). A `module.` prefix is allowed.

    Returns:
        The Flax parameters, in the dtype of the arrays given.

    Raises:
        ValueError: a name is missing or unknown, or a shape differs.
    """
    template, layers = survey(network)
    entries = _entries(state_dict)
    if len(entries) != len(layers):
        raise ValueError(
            f"The checkpoint has {len(entries)} layers and the network {len(layers)}: {_REMEDY}"
        )
    params: dict[Leaf, np.ndarray] = {}
    for (index, leaves), layer in zip(sorted(entries.items()), layers, strict=True):
        expected = {leaf[1:]: shape for leaf, shape in template.items() if leaf[0] == layer}
        given = dict(_as_flax(path, value) for path, value in leaves.items())
        if {path: value.shape for path, value in given.items()} != expected:
            raise ValueError(
                f"all_modules.{index} of the checkpoint is not {layer} of the network.\n"
                f"  checkpoint: {_describe({path: v.shape for path, v in given.items()})}\n"
                f"  network:    {_describe(expected)}\n{_REMEDY}"
            )
        params.update({(layer, *path): value for path, value in given.items()})
    return unflatten_dict(params)


def survey(network: Any) -> tuple[dict[Leaf, tuple[int, ...]], list[str]]:
    """What an NCSNpp or DDPM owns, found without computing anything.

    Returns:
        The shape of every parameter, by name; and the top-level layers that own any, in the order in which
        the network calls them, which the parameter tree (sorted, numbered per class) does not tell.
    """
    called: dict[str, None] = {}

    def note(next_function: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if len(context.module.path) == 1:
            called.setdefault(context.module.path[0])
        return next_function(*args, **kwargs)

    shape = (1, network.image_size, network.image_size, network.num_channels)
    example = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct((1,), jnp.float32)
    with nn.intercept_methods(note):
        variables = jax.eval_shape(network.init, jax.random.key(0), *example)
    shapes = {leaf: array.shape for leaf, array in flatten_dict(variables["params"]).items()}
    return shapes, [layer for layer in called if layer in variables["params"]]


_REMEDY = "the options of the network (config.model) must be those it was trained with."


def _entries(state_dict: Mapping[str, Any]) -> dict[int, dict[Leaf, np.ndarray]]:
    """The state dict as layer index -> path inside the layer -> array."""
    entries: dict[int, dict[Leaf, np.ndarray]] = {}
    for name, value in state_dict.items():
        if name in _BUFFERS:
            continue
        match = _ENTRY.fullmatch(name)
        if match is None:
            raise ValueError(
                f"{name!r} is not the name of a published parameter (all_modules.<number>.<path>). "
                "Give the state dict itself: the entry 'model' of a published checkpoint file."
            )
        index, path = int(match[1]), tuple(match[2].split("."))
        entries.setdefault(index, {})[path] = np.asarray(value)
    return entries


def _as_flax(path: Leaf, value: np.ndarray) -> tuple[Leaf, np.ndarray]:
    """One PyTorch leaf under its Flax name and in its Flax layout."""
    *parents, leaf = path
    if leaf != "weight":
        return path, value  # biases, and W and b, which are kept as they are
    if value.ndim == 1:
        return (*parents, "scale"), value
    if value.ndim == 2:
        return (*parents, "kernel"), value.T
    kernel = value.transpose(2, 3, 1, 0)
    return (*parents, "weight" if parents[-1:] == ["Conv2d_0"] else "kernel"), kernel


def _describe(shapes: Mapping[Leaf, tuple[int, ...]]) -> str:
    return ", ".join(f"{'/'.join(path)} {shape}" for path, shape in sorted(shapes.items()))
