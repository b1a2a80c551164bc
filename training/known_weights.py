"""By what weights are known again: trained anew to the same step, they are others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

NEAR = 1e-5
"""Relative: a product of adapters and an average that is solved for differ in their last bits from one CPU to another."""


def hash_of_weights(model: Any) -> str:
    """SHA-256 of a model's arrays, 32 hexadecimal digits; of their contents, which a copied folder keeps, and not of dates."""
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(model):
        total.update(np.ascontiguousarray(jax.device_get(leaf)).tobytes())
    return total.hexdigest()[:32]


def norms_of_weights(model: Any) -> list[float]:
    """|W| of each array, in the order of its leaves."""
    leaves = (np.asarray(jax.device_get(leaf), np.float64) for leaf in jax.tree.leaves(model))
    return [float(np.linalg.norm(leaf.ravel())) for leaf in leaves]


def near_norms(recorded: Sequence[float], model: Any) -> bool:
    """Whether a model's norms are these but for rounding."""
    norms = norms_of_weights(model)
    return len(recorded) == len(norms) and np.allclose(norms, recorded, rtol=NEAR, atol=0.0)
