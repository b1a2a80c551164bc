"""The arrays of a tree by name, and the differences between two trees."""

from __future__ import annotations

from typing import Any

import jax

from score_sde.errors import UserError

Shapes = dict[str, tuple[int, ...]]

SHOWN_DIFFERENCES = 4


def named(tree: Any) -> dict[str, Any]:
    """Return a tree's leaves by name, such as "Conv_0.kernel"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def shapes(tree: Any) -> Shapes:
    """Return the shape of every array in a tree by name, such as "params.Conv_0.kernel"."""
    return {name: tuple(leaf.shape) for name, leaf in named(tree).items()}


def check_same(step: int, stored: Shapes, expected: Shapes) -> None:
    """Raise UserError unless a checkpoint has exactly the names and shapes that the config implies; no arrays are read."""
    differences = []
    for name in sorted(stored.keys() | expected.keys()):
        if stored.get(name) != expected.get(name):
            in_file, in_config = stored.get(name, "absent"), expected.get(name, "absent")
            differences.append(f"{name}: checkpoint {in_file}, config {in_config}")
    if not differences:
        return
    raise UserError(
        f"the checkpoint of step {step} does not fit the config: {len(differences)} arrays differ in name or shape ("
        + "; ".join(differences[:SHOWN_DIFFERENCES])
        + ("; ..." if len(differences) > SHOWN_DIFFERENCES else "")
        + "); use the config that it was trained with, or another folder"
    )
