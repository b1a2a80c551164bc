"""Fingerprints of weights, to recognize them: the step alone does not identify them, since a run can be trained again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

NEAR = 1e-5
"""Relative tolerance: merged adapters and reconstructed averages differ in their last bits between CPUs."""


def hash_of_weights(model: Any) -> str:
    """Return the first 32 hexadecimal digits of the SHA-256 of a model's arrays.

    It depends only on the arrays' contents, not on file dates, so a copied folder keeps it.
    """
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(model):
        total.update(np.ascontiguousarray(jax.device_get(leaf)).tobytes())
    return total.hexdigest()[:32]


def norms_of_weights(model: Any) -> list[float]:
    """Return the norm |W| of each array of a model, in the order of its leaves."""
    leaves = (np.asarray(jax.device_get(leaf), np.float64) for leaf in jax.tree.leaves(model))
    return [float(np.linalg.norm(leaf.ravel())) for leaf in leaves]


def near_norms(recorded: Sequence[float], model: Any) -> bool:
    """Whether a model's norms equal the recorded ones up to rounding."""
    norms = norms_of_weights(model)
    return len(recorded) == len(norms) and np.allclose(norms, recorded, rtol=NEAR, atol=0.0)
