"""The score networks by the names that configs use (`config.model.name`)."""

import dataclasses
from typing import Any

import flax.linen as nn

from score_sde.models.ddpm import DDPM
from score_sde.models.ncsnpp import NCSNpp
from score_sde.options import Section, choose, option

NETWORKS: dict[str, type[NCSNpp] | type[DDPM]] = {"ncsnpp": NCSNpp, "ddpm": DDPM}


@dataclasses.dataclass(frozen=True)
class NetworkChoice(Section):
    name: str = option(
        "ncsnpp", "ncsnpp (NCSN++ and DDPM++) | ddpm | mixture (exact score of data.name=mixture)"
    )


def build_network(config: Any) -> nn.Module:
    """Builds the network that `config` describes.

    Args:
        config: with `model.name` one of NETWORKS, and the fields that its `from_config` reads.

    Raises:
        ConfigError: unknown name, or options that the network cannot have.
    """
    return choose("model.name", config.model.name, NETWORKS).from_config(config)
