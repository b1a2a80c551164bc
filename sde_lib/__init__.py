"""Forward processes. A new one is a subclass of `SDE` in a file of its own, registered by name in `SDES`."""

from __future__ import annotations

import dataclasses
from typing import Any

from score_sde.options import Section, choose, option
from score_sde.sde_lib.base import SDE, NoDiscreteForm, expand
from score_sde.sde_lib.chains import Chain, DDPMChain, SMLDChain
from score_sde.sde_lib.cosine import Cosine
from score_sde.sde_lib.edm import EDM
from score_sde.sde_lib.linear import Linear
from score_sde.sde_lib.scaled_linear import ScaledLinear
from score_sde.sde_lib.shifted_cosine import ShiftedCosine
from score_sde.sde_lib.sigmoid import Sigmoid
from score_sde.sde_lib.sub_vp import SubVP
from score_sde.sde_lib.trigonometric import Trigonometric
from score_sde.sde_lib.ve import VE
from score_sde.sde_lib.vp import VP

SDES: dict[str, type[SDE]] = {
    "vp": VP,
    "subvp": SubVP,
    "ve": VE,
    "cosine": Cosine,
    "shifted_cosine": ShiftedCosine,
    "scaled_linear": ScaledLinear,
    "edm": EDM,
    "trigonometric": Trigonometric,
    "linear": Linear,
    "sigmoid": Sigmoid,
}


@dataclasses.dataclass(frozen=True)
class ProcessChoice(Section):
    """The choice of forward process, config.sde."""

    name: str = option(
        "vp",
        "vp | subvp | ve | cosine | shifted_cosine | scaled_linear | edm | trigonometric | sigmoid | "
        "linear (flow matching), or a name registered in sde_lib/__init__.py",
    )


def build_sde(config: Any) -> SDE:
    """Build the forward process named by `config.sde.name`, with parameters from `config.model`."""
    return choose("sde.name", config.sde.name, SDES).from_config(config)


__all__ = [
    "EDM", "SDE", "SDES", "VE", "VP", "Chain", "Cosine", "DDPMChain", "Linear", "NoDiscreteForm", "ProcessChoice", "SMLDChain",
    "ScaledLinear", "ShiftedCosine", "Sigmoid", "SubVP", "Trigonometric", "build_sde", "expand",
]  # fmt: skip
