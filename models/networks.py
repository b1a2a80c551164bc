"""The score networks by the names that configs use (`config.model.name`)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from score_sde.errors import ConfigError
from score_sde.models.adm import ADM
from score_sde.models.control import ControlNet
from score_sde.models.ddpm import DDPM
from score_sde.models.dit import DiT
from score_sde.models.edm2 import EDM2
from score_sde.models.edm_adm import EDMADM
from score_sde.models.edm_unet import EDMUNet
from score_sde.models.ncsnpp import NCSNpp
from score_sde.models.network import Network
from score_sde.models.rin import RIN
from score_sde.models.score import NetworkScore, takes_none
from score_sde.models.simple_uvit import SimpleUViT
from score_sde.models.uvit import UViT
from score_sde.options import Section, choose, option

NETWORKS: dict[str, type[Network]] = {
    "ncsnpp": NCSNpp,
    "ddpm": DDPM,
    "adm": ADM,
    "edm_unet": EDMUNet,
    "edm_adm": EDMADM,
    "edm2": EDM2,
    "dit": DiT,
    "uvit": UViT,
    "simple_uvit": SimpleUViT,
    "rin": RIN,
    "controlnet": ControlNet,
}


@dataclasses.dataclass(frozen=True)
class NetworkChoice(Section):
    """Which network: config.model.name."""

    name: str = option(
        "ncsnpp",
        "ncsnpp (NCSN++ and DDPM++) | ddpm | adm | edm_unet (EDM's DDPM++ and NCSN++) | edm_adm | edm2 | dit | uvit | simple_uvit (after "
        "simple diffusion) | rin | controlnet (a frozen ncsnpp with a ControlNet) | mixture (exact score of data.name=mixture)",
    )


def build_network(config: Any) -> nn.Module:
    """Builds the network that `config` describes.

    Args:
        config: with `model.name` one of NETWORKS, and the fields that its `from_config` reads.

    Raises:
        ConfigError: unknown name, or options that the network cannot have.
    """
    return choose("model.name", config.model.name, NETWORKS).from_config(config)


def network_score(network: Any, params: Any, parameterization: Any) -> NetworkScore:
    """The network with these parameters as a score model, of no condition."""
    return NetworkScore(params, network.apply, parameterization, (), null_condition_of(network))


def null_condition_of(network: Any) -> Callable[[Any], Any]:
    """The network's `null_condition`; one that has none takes no conditions."""
    return getattr(network, "null_condition", takes_none)


def check_no_class(config: Any, what: str) -> None:
    """Refuse what asks a network for its score of no class, or of no image, if it never learnt one."""
    names = condition_names(config)
    if names and not config.training.label_dropout:
        nothing = next((f"no {name}" for name in ("image", "text") if name in names), "no class")
        raise ConfigError(
            f"{what} asks for the score of {nothing}, which a network trained with training.label_dropout=0 never learnt; train "
            "with label_dropout=0.1, say"
        )


def condition_names(config: Any) -> tuple[str, ...]:
    """Names of the configured network's conditions: label, text, image; others of a user's own."""
    read = tuple(name for name in conditions_of(config) if name != "paired")
    return (*read, "image") if has_condition_image(config) else read


def has_condition_image(config: Any) -> bool:
    """Whether the configured network is conditioned on an image."""
    return config.model.name in NETWORKS and config.model.condition_image != "none"


def conditions_of(config: Any) -> tuple[str, ...]:
    """Names of what is read with each image for the configured network's condition; () also for scores known in closed form."""
    conditions = getattr(NETWORKS.get(config.model.name), "conditions", None)
    return conditions(config) if conditions else ()


def takes_logarithm(config: Any) -> bool:
    """Whether the configured network takes the logarithm of its noise input, which then is sigma or like it."""
    inside = getattr(NETWORKS.get(config.model.name), "takes_logarithm", None)
    return bool(inside and inside(config))


def declares_options(name: str) -> bool:
    """Whether the fields of config.model that a network reads are known: one of a user's may read any, as `from_config` likes."""
    network = NETWORKS.get(name)
    return network is None or issubclass(network, Section)


def divides_by_sigma(config: Any) -> bool:
    """Whether the configured network divides its output by sigma; others do not read the field."""
    network = NETWORKS.get(config.model.name)
    return bool(config.model.scale_by_sigma and network and "scale_by_sigma" in network.options())


def projection_of(network: Any) -> Callable[[Any], Any]:
    """What training puts in place of the parameters before each update: their `projected`, or themselves."""
    return getattr(network, "projected", lambda params: params)
