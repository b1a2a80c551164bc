"""How a network's published PyTorch state dict differs from its parameters here, for foreign_weights/state_dicts.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class StateDict:
    """Differences beyond the rule for all networks: layer names are the same, with "_" in place of a dot before a number."""

    within: str = ""
    """Prefix of the names, where the published network is nested in another module ..."""
    beside: tuple[str, ...] = ()
    """... except for names that begin with one of these."""
    convolutions: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    """Layers that are convolutions there and linear maps here: suffixes of their names -> kernel sizes there."""
    constants: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """Arrays stored there (as buffers) that are computed here."""
    classes: str = ""
    """Name of the class embedding, whose last row is "no class" here; published networks may have been trained without it."""
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Arrays there without a counterpart here -> the reason."""
