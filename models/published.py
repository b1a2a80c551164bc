"""In what the published PyTorch state dict of a network differs from its parameters here; foreign_weights/state_dicts.py reads by it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class StateDict:
    """What is said of a network beside the rules for all: layers have the same names, with a dot before a number in place of "_"."""

    within: str = ""
    """What precedes the names where the published network lies within another module ..."""
    beside: tuple[str, ...] = ()
    """... but for names that begin with one of these."""
    convolutions: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    """Ends of names of layers that are convolutions there and linear maps here -> the sides of their kernels."""
    constants: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """Arrays there that are computed here: buffers."""
    classes: str = ""
    """The table whose last row is "no class" here; published networks may have been trained without it."""
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Arrays there that have no part here -> why."""
