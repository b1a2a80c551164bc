"""Trees of arrays in one .npz file, by names such as "Conv_0.kernel"; written atomically, and read without executing code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_sde.errors import UserError
from score_sde.files import write_whole
from score_sde.npz import read_npz
from score_sde.training.named_shapes import named


def write_tree(path: Path, tree: Any, **beside: Any) -> None:
    """Write the arrays of a tree, and further arrays `beside` them, to a file.

    Raises:
      UserError: the file cannot be written.
    """
    arrays = {name: np.asarray(leaf) for name, leaf in named(jax.device_get(tree)).items()}
    write_whole(path, lambda file: np.savez(file, **arrays, **beside))  # type: ignore[arg-type]


def read_tree(path: Path, like: Any) -> Any:
    """Read a tree from a file, as NumPy arrays with the names, shapes and dtypes of `like`.

    Raises:
      UserError: the file is missing, damaged, or holds another tree.
    """
    try:
        found, expected = read_npz(path), named(like)
        for name in sorted(found.keys() | expected.keys()):
            there = found[name].shape if name in found else "absent"
            wanted = expected[name].shape if name in expected else "absent"
            if there != wanted:
                raise ValueError(f"{name} is {there} and should be {wanted}")
        leaves = [np.asarray(found[name], leaf.dtype) for name, leaf in expected.items()]
    except ValueError as error:
        raise UserError(
            f"{path} is missing, damaged or of another network ({error}); put back a copy"
        ) from error
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
