"""Forward processes. A new one is a subclass of `SDE` in a file of its own, registered by name in `SDES`."""

from __future__ import annotations

import dataclasses
from typing import Any

from score_sde.options import Section, choose, option
from score_sde.sde_lib.base import SDE, NoDiscreteForm, expand
from score_sde.sde_lib.chains import Chain, DDPMChain, SMLDChain
from score_sde.sde_lib.sub_vp import SubVP
from score_sde.sde_lib.ve import VE
from score_sde.sde_lib.vp import VP

SDES: dict[str, type[SDE]] = {"vp": VP, "subvp": SubVP, "ve": VE}


@dataclasses.dataclass(frozen=True)
class ProcessChoice(Section):
    name: str = option("vp", "vp | subvp | ve, or a name registered in sde_lib/__init__.py")


def build_sde(config: Any) -> SDE:
    """The forward process that `config.sde.name` names, with its parameters from `config.model`."""
    return choose("sde.name", config.sde.name, SDES).from_config(config)


__all__ = [
    "SDE", "SDES", "VE", "VP", "Chain", "DDPMChain", "NoDiscreteForm", "ProcessChoice", "SMLDChain", "SubVP",
    "build_sde", "expand",
]  # fmt: skip
