"""Low-rank updates of a network's weights (LoRA, Hu et al. 2021, Eq. 3), as functions of parameter trees that work for any network.

The kernel of a layer is an array (..., in, out): (in, out) of a dense layer or a 1x1 one, such as the projections of attention, and
(k, k, in, out) of a convolution. As a matrix W it has m rows, all but the last axis, and n columns, and a layer computes x W. So the
paper's update is transposed here:

    W' = W + (alpha / r) A B,    A (m, r), B (r, n)

Of a convolution A is one of the same size to r channels and B a 1x1 convolution from these to the output's. At the start A is normal with
variance 1 / m and B = 0, so that W' = W: then the gradient is 0 in A and not in B. An update has r (m + n) numbers in place of m n.

Adapters are a tree like that of the parameters, with {"A", "B"} in the place of each kernel that has an update and nothing in the place of
all else.
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

SHOWN = 6  # names in an error

Path = tuple[str, ...]


class LowRank(NamedTuple):
    """Which kernels have an update, and of which rank: config.training.lora."""

    rank: int
    """r"""
    alpha: float
    targets: str
    """A regular expression, found in the names of the kernels."""

    @property
    def scale(self) -> float:
        """alpha / r"""
        return self.alpha / self.rank


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """(m, n) of a kernel as a matrix."""
    return math.prod(shape[:-1]), shape[-1]


def target_shapes(low_rank: LowRank, params: Any) -> dict[Path, tuple[int, int]]:
    """By their places in the tree, (m, n) of the kernels that have an update: arrays of two axes or more in whose name the pattern is.

    Raises:
      ConfigError: the pattern is no regular expression or in no name, or updates of this rank have as many numbers as the kernels.
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
        raise ConfigError(f"{field} names no kernel; {expected}")
    new = sum(low_rank.rank * (m + n) for m, n in chosen.values())
    old = sum(m * n for m, n in chosen.values())
    if new >= old:
        raise ConfigError(
            f"training.lora.rank={low_rank.rank}: updates of this rank have {new:,} numbers, and the {len(chosen)} kernels that they "
            f"update {old:,}; choose a smaller rank, or train these kernels themselves: training.trainable={low_rank.targets!r}, "
            "training.lora.rank=0"
        )
    return chosen


def first_adapters(low_rank: LowRank, params: Any, key: Array) -> Any:
    """A normal with variance 1 / m, B = 0, float32, a function of the key and of which kernels there are.

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
    """W + scale A B in the place of each kernel that has an update, the other parameters as they are.

    Of NumPy arrays NumPy makes it, with no program compiled. B = 0 or scale = 0 leaves every W as it is.
    """
    flat, update = flatten_dict(params), flatten_dict(adapters)
    moved: dict[Path, Any] = dict(flat)
    # The products cost next to nothing, and what is trained must be what is merged once: no TF32 or bfloat16 here.
    with jax.default_matmul_precision("highest"):
        for path in {path[:-1] for path in update}:
            A, B, W = update[(*path, "A")], update[(*path, "B")], flat[path]
            moved[path] = W + scale * (A @ B).reshape(W.shape)
    return unflatten_dict(moved)


def count(adapters: Any) -> int:
    """Numbers in all adapters: the sum of r (m + n)."""
    return sum(leaf.size for leaf in jax.tree.leaves(adapters))
