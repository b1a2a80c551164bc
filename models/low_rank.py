"""Low-rank updates of a network's weights (LoRA, Hu et al. 2021, Eq. 3), as functions of parameter trees, for any network.

The kernel of a layer is an array (..., in, out): (in, out) for a dense layer or a 1x1 layer such as the projections of
attention, and (k, k, in, out) for a convolution. Flattened to a matrix W it has m rows (all axes but the last) and n columns,
and the layer computes x W. The paper's update is therefore transposed here:

    W' = W + (alpha / r) A B,    A (m, r), B (r, n)

For a convolution, A is a convolution of the same size to r channels and B a 1x1 convolution from these to the output
channels. Initially A is normal with variance 1 / m and B = 0, so that W' = W, and the gradient is zero in A but not in B.
An update has r (m + n) parameters in place of m n.

Adapters are a tree like that of the parameters, with {"A", "B"} in place of each kernel that is updated and nothing else.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array

from score_sde.errors import ConfigError

SHOWN = 6  # names listed in an error message

Path = tuple[str, ...]


class LowRank(NamedTuple):
    """Which kernels are updated, and with which rank (config.training.lora)."""

    rank: int
    """The rank r."""
    alpha: float
    targets: str
    """Regular expression that is searched for in the names of the kernels."""

    @property
    def scale(self) -> float:
        """The factor alpha / r."""
        return self.alpha / self.rank


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Shape (m, n) of a kernel as a matrix."""
    return math.prod(shape[:-1]), shape[-1]


def target_shapes(low_rank: LowRank, params: Any) -> dict[Path, tuple[int, int]]:
    """Matrix shapes (m, n) of the kernels that are updated, by their paths in the tree.

    Kernels are the arrays of two or more axes; those whose name matches the pattern are updated.

    Raises:
      ConfigError: the pattern is not a regular expression or matches no name, or updates of this rank have no fewer
        parameters than the kernels.
    """
    field = f"training.lora.targets={low_rank.targets!r}"
    flat = flatten_dict(params)
    kernels = {path: leaf.shape for path, leaf in flat.items() if len(leaf.shape) > 1}
    names = [".".join(path) for path in kernels]
    some = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    expected = f"expected a regular expression found in some of the {len(names)} names {some}"
    try:
        found = re.compile(low_rank.targets)
    except re.error as error:
        raise ConfigError(f"{field}: {error}; {expected}") from error
    chosen = {
        path: matrix_shape(shape) for path, shape in kernels.items() if found.search(".".join(path))
    }
    if not chosen:
        raise ConfigError(f"{field} matches no kernel; {expected}")
    new = sum(low_rank.rank * (m + n) for m, n in chosen.values())
    old = sum(m * n for m, n in chosen.values())
    if new >= old:
        raise ConfigError(
            f"training.lora.rank={low_rank.rank}: updates of this rank have {new:,} numbers, but the {len(chosen)} kernels that they "
            f"update only {old:,}; choose a smaller rank, or train these kernels themselves: training.trainable={low_rank.targets!r}, "
            "training.lora.rank=0"
        )
    return chosen


def first_adapters(low_rank: LowRank, params: Any, key: Array) -> Any:
    """Initial adapters in float32: A normal with variance 1 / m, and B = 0.

    They depend only on the key and on which kernels are updated.

    Args:
      params: the parameters, or their shapes.
    """
    flat: dict[Path, Array] = {}
    for i, (path, (m, n)) in enumerate(sorted(target_shapes(low_rank, params).items())):
        normal = jax.random.normal(jax.random.fold_in(key, i), (m, low_rank.rank), jnp.float32)
        flat[(*path, "A")] = normal / math.sqrt(m)
        flat[(*path, "B")] = jnp.zeros((low_rank.rank, n), jnp.float32)
    return unflatten_dict(flat)


def merged(params: Any, adapters: Any, scale: float) -> Any:
    """Return the parameters with W + scale A B in place of each kernel that is updated.

    For NumPy arrays NumPy computes it, and nothing is compiled. B = 0 or scale = 0 leaves every W as it is.
    """
    flat, update = flatten_dict(params), flatten_dict(adapters)
    moved: dict[Path, Any] = dict(flat)
    # The products cost next to nothing, and weights merged at the end must equal those in training: no TF32 or bfloat16 here.
    with jax.default_matmul_precision("highest"):
        for path in {path[:-1] for path in update}:
            A, B, W = update[(*path, "A")], update[(*path, "B")], flat[path]
            moved[path] = W + scale * (A @ B).reshape(W.shape)
    return unflatten_dict(moved)


def count(adapters: Any) -> int:
    """Number of parameters in all adapters, the sum of r (m + n)."""
    return sum(leaf.size for leaf in jax.tree.leaves(adapters))
