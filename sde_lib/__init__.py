"""Forward processes. A new one is a subclass of `SDE` in a file of its own, registered by name in `SDES`."""

from __future__ import annotations

from typing import Any

from score_sde.options import choose
from score_sde.sde_lib.base import SDE, NoDiscreteForm, expand
from score_sde.sde_lib.chains import Chain, DDPMChain, SMLDChain
from score_sde.sde_lib.sub_vp import SubVP
from score_sde.sde_lib.ve import VE
from score_sde.sde_lib.vp import VP

SDES: dict[str, type[SDE]] = {"vp": VP, "subvp": SubVP, "ve": VE}


def build_sde(config: Any) -> SDE:
    """The forward process that `config.sde.name` names, with its parameters from `config.model`."""
    return choose("sde.name", config.sde.name, SDES).from_config(config)


__all__ = [
    "SDE", "SDES", "VE", "VP", "Chain", "DDPMChain", "NoDiscreteForm", "SMLDChain", "SubVP",
    "build_sde", "expand",
]  # fmt: skip
