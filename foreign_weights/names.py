"""Names and layouts of the published PyTorch networks' parameters.

A published network keeps its layers in one flat list, in the order in which it calls them: a parameter is
called `all_modules.{i}.{path inside the layer}`, and `parameters()` lists them in that order. A Flax network
calls the same layers in the same order but names them by class and number. So the order of the calls gives
every parameter its published name.
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

PUBLISHED_NETWORKS = ("ncsnpp", "ddpm")  # config.model.name of those that have such names


# A table of noise levels that the published networks save and that ours derive from their fields.
SIGMAS = "sigmas"
# What wrapping a network for several GPUs puts before every name.
PREFIX = "module."

_PUBLISHED_LEAF = {"scale": "weight", "kernel": "weight"}
_BIASES = ("bias", "b")
# Where each axis of our array stands in the published one: HWIO -> OIHW, (in, out) -> (out, in).
_AXES = {("kernel", 4): (3, 2, 0, 1), ("weight", 4): (3, 2, 0, 1), ("kernel", 2): (1, 0)}


class Parameter(NamedTuple):
    """One parameter under both its names."""

    name: str  # published, as all_modules.3.Conv_0.weight
    leaf: Leaf  # ours, as ("ResnetBlockBigGANpp_0", "Conv_0", "kernel")
    shape: tuple[int, ...]  # in the published layout
    axes: tuple[int, ...]  # published = ours.transpose(axes)
    trained: bool  # False: the frequencies of a Fourier embedding, which need no gradient

    def published(self, array: np.ndarray) -> np.ndarray:
        """Our array in the published layout."""
        return array.transpose(self.axes)

    def ours(self, array: np.ndarray) -> np.ndarray:
        """The published array in our layout."""
        return array.transpose(np.argsort(self.axes))


def parameters(network: Any) -> list[Parameter]:
    """The parameters of an NCSNpp or DDPM in the order of the published `parameters()`.

    Found without computing anything: the network is called once on shapes.

    Raises:
        UserError: a network that resamples between its blocks without weights. The published list gives such
            layers numbers too, and no published configuration has them. Or one that is conditioned on classes or images.
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
    """The shape of every parameter, and all modules in the order of their first call.

    The parameter tree alone (sorted, numbered per class) does not tell the order.
    """
    called: dict[Leaf, None] = {}

    def note(next_function: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if context.method_name == "__call__":  # others run before a module has a path
            called.setdefault(context.module.path)
        return next_function(*args, **kwargs)

    shape = (1, *sides(network.image_size, network.image_width), network.num_channels)
    example = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct((1,), jnp.float32)
    with nn.intercept_methods(note):
        variables = jax.eval_shape(network.init, jax.random.key(0), *example)
    return flatten_dict(variables["params"]), list(called)


def without_prefix(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a published state dict under their names in the network itself."""
    return {name.removeprefix(PREFIX): value for name, value in state_dict.items()}


def to_tree(parameters: list[Parameter], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Flax parameters of arrays by published name, in their dtype."""
    return unflatten_dict({p.leaf: p.ours(arrays[p.name]) for p in parameters})


def from_tree(parameters: list[Parameter], tree: Any) -> dict[str, np.ndarray]:
    """The inverse of `to_tree`, in the order of `parameters`."""
    leaves = flatten_dict(tree)
    return {p.name: p.published(np.asarray(leaves[p.leaf])) for p in parameters}
