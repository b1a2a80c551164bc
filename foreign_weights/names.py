"""Names and layouts of the published PyTorch networks' parameters.

A published network keeps its layers in a flat list, in the order in which it calls them: a parameter is named
`all_modules.{i}.{path inside the layer}`, and `parameters()` lists them in this order. A Flax network calls the
same layers in the same order but names them by class and number. The published name of each parameter therefore
follows from the order of the calls.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from score_sde.data.image_shape import sides
from score_sde.errors import UserError
from score_sde.training.optimizer import trained

Leaf = tuple[str, ...]

PUBLISHED_NETWORKS = ("ncsnpp", "ddpm")  # values of config.model.name with such published names


# The table of noise levels, which published networks save and ours compute from their fields.
SIGMAS = "sigmas"
# Prefix of all names of a network that is wrapped for several GPUs.
PREFIX = "module."

_PUBLISHED_LEAF = {"scale": "weight", "kernel": "weight"}
_BIASES = ("bias", "b")
# Transpositions from our layout to the published one: HWIO -> OIHW, (in, out) -> (out, in).
_AXES = {("kernel", 4): (3, 2, 0, 1), ("weight", 4): (3, 2, 0, 1), ("kernel", 2): (1, 0)}


class Parameter(NamedTuple):
    """A parameter, with its published name and ours."""

    name: str  # published, such as all_modules.3.Conv_0.weight
    leaf: Leaf  # ours, such as ("ResnetBlockBigGANpp_0", "Conv_0", "kernel")
    shape: tuple[int, ...]  # in the published layout
    axes: tuple[int, ...]  # published = ours.transpose(axes)
    trained: bool  # False: the frequencies of a Fourier embedding, which need no gradient

    def published(self, array: np.ndarray) -> np.ndarray:
        """Convert one of our arrays to the published layout."""
        return array.transpose(self.axes)

    def ours(self, array: np.ndarray) -> np.ndarray:
        """Convert a published array to our layout."""
        return array.transpose(np.argsort(self.axes))


def parameters(network: Any) -> list[Parameter]:
    """The parameters of an NCSNpp or DDPM in the order of the published `parameters()`.

    Nothing is computed: the network is traced once, for shapes only.

    Raises:
        UserError: the network is conditioned on classes or images, or resamples between its blocks without weights:
            the published list numbers such layers too, but no published configuration has them.
    """
    if network.condition_image != "none":
        raise UserError(
            f"model.condition_image={network.condition_image!r}: published networks are not conditioned on images; set model.condition_image='none'"
        )
    if network.num_classes:
        raise UserError(
            f"model.num_classes={network.num_classes}: published networks are not conditioned on classes; set model.num_classes=0"
        )
    if not network.resamp_with_conv and getattr(network, "resblock_type", "ddpm") == "ddpm":
        raise UserError(
            "model.resamp_with_conv=False with DDPM blocks has no published parameter names here; "
            "published networks have resamp_with_conv=True"
        )
    shapes, modules = _called_modules(network)
    needs_gradient = flatten_dict(trained(unflatten_dict(shapes)))
    numbers: dict[str, int] = {}
    found = []
    for module in modules:
        own = [leaf for leaf in shapes if leaf[:-1] == module]
        for leaf in sorted(own, key=lambda leaf: leaf[-1] in _BIASES):
            layer, *inside, last = leaf
            number = numbers.setdefault(layer, len(numbers))
            path = (*inside, _PUBLISHED_LEAF.get(last, last))
            shape = shapes[leaf].shape
            axes = _AXES.get((last, len(shape)), tuple(range(len(shape))))
            found.append(
                Parameter(
                    name=".".join(("all_modules", str(number), *path)),
                    leaf=leaf,
                    shape=tuple(shape[axis] for axis in axes),
                    axes=axes,
                    trained=bool(needs_gradient[leaf]),
                )
            )
    return found


def _called_modules(network: Any) -> tuple[dict[Leaf, jax.ShapeDtypeStruct], list[Leaf]]:
    """The shapes of all parameters, and all modules in the order of their first call.

    The order cannot be inferred from the parameter tree, which is sorted and numbered per class.
    """
    called: dict[Leaf, None] = {}

    def note(next_function: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if context.method_name == "__call__":  # other methods run before a module has a path
            called.setdefault(context.module.path)
        return next_function(*args, **kwargs)

    shape = (1, *sides(network.image_size, network.image_width), network.num_channels)
    example = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct((1,), jnp.float32)
    with nn.intercept_methods(note):
        variables = jax.eval_shape(network.init, jax.random.key(0), *example)
    return flatten_dict(variables["params"]), list(called)


def without_prefix(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Strip PREFIX from the names in a published state dict."""
    return {name.removeprefix(PREFIX): value for name, value in state_dict.items()}


def to_tree(parameters: list[Parameter], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Convert arrays by published name to Flax parameters, keeping their dtype."""
    return unflatten_dict({p.leaf: p.ours(arrays[p.name]) for p in parameters})


def from_tree(parameters: list[Parameter], tree: Any) -> dict[str, np.ndarray]:
    """The inverse of `to_tree`, in the order of `parameters`."""
    leaves = flatten_dict(tree)
    return {p.name: p.published(np.asarray(leaves[p.leaf])) for p in parameters}
