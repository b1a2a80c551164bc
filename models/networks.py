"""Registry of the score networks by `config.model.name`, and queries about the configured one."""

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
    """Choice of the network (config.model.name)."""

    name: str = option(
        "ncsnpp",
        "ncsnpp (NCSN++ and DDPM++) | ddpm | adm | edm_unet (EDM's DDPM++ and NCSN++) | edm_adm | edm2 | dit | uvit | simple_uvit (after "
        "simple diffusion) | rin | controlnet (a frozen ncsnpp with a ControlNet) | mixture (exact score of data.name=mixture)",
    )


def build_network(config: Any) -> nn.Module:
    """Build the network that `config` describes.

    Args:
        config: `model.name` is a key of NETWORKS; the other fields are those read by that network's `from_config`.

    Raises:
        ConfigError: the name is unknown, or the network does not accept the options.
    """
    return choose("model.name", config.model.name, NETWORKS).from_config(config)


def check_asks_for_conditions(config: Any) -> None:
    """Refuse classes, texts and paired images for a network without `conditions`, which would be trained without them.

    Not part of `build_network`, so that networks already trained with such a config remain usable.

    Raises:
        ConfigError: the network does not ask for a condition that `config.model` names.
    """
    network = choose("model.name", config.model.name, NETWORKS)
    if hasattr(network, "conditions"):
        return
    model = config.model
    unread = {"num_classes": 0, "words": "", "condition_channels": 0}
    for field, nothing in unread.items():
        if model[field] != nothing:
            raise ConfigError(
                f"model.{field}={model[field]!r} with model.name={model.name!r}: {network.__name__} has no method `conditions`, by which a network "
                f"asks for its conditions, and would be trained without them; add one (docs/tutorials/extending.md), or set model.{field} to {nothing!r}"
            )


def network_score(network: Any, params: Any, parameterization: Any) -> NetworkScore:
    """Wrap a network and its parameters as a score model, with no condition bound."""
    return NetworkScore(params, network.apply, parameterization, (), null_condition_of(network))


def null_condition_of(network: Any) -> Callable[[Any], Any]:
    """Return the network's `null_condition`, or `takes_none` for a network without one."""
    return getattr(network, "null_condition", takes_none)


def check_no_class(config: Any, what: str) -> None:
    """Refuse `what`, which needs the unconditional score, if a conditional network was trained without label dropout."""
    names = condition_names(config)
    if names and not config.training.label_dropout:
        nothing = next((f"no {name}" for name in ("image", "text") if name in names), "no class")
        raise ConfigError(
            f"{what} needs the unconditional score ({nothing}), which a network trained with training.label_dropout=0 has not learned; train "
            "with, for example, label_dropout=0.1"
        )


def condition_names(config: Any) -> tuple[str, ...]:
    """Names of the configured network's conditions: label, text, image, or those of a user-defined network."""
    read = tuple(name for name in conditions_of(config) if name != "paired")
    return (*read, "image") if has_condition_image(config) else read


def has_condition_image(config: Any) -> bool:
    """Whether the configured network is conditioned on an image."""
    return config.model.name in NETWORKS and config.model.condition_image != "none"


def conditions_of(config: Any) -> tuple[str, ...]:
    """Names of what is read with each image to condition the configured network; () also for closed-form scores."""
    conditions = getattr(NETWORKS.get(config.model.name), "conditions", None)
    return conditions(config) if conditions else ()


def takes_logarithm(config: Any) -> bool:
    """Whether the configured network takes the logarithm of its noise input, which must then be positive, such as sigma."""
    inside = getattr(NETWORKS.get(config.model.name), "takes_logarithm", None)
    return bool(inside and inside(config))


def declares_options(name: str) -> bool:
    """Whether the fields of config.model that a network reads are known; a user-defined `from_config` may read any."""
    network = NETWORKS.get(name)
    return network is None or issubclass(network, Section)


def divides_by_sigma(config: Any) -> bool:
    """Whether the configured network divides its output by sigma; networks without the option `scale_by_sigma` do not."""
    network = NETWORKS.get(config.model.name)
    return bool(config.model.scale_by_sigma and network and "scale_by_sigma" in network.options())


def projection_of(network: Any) -> Callable[[Any], Any]:
    """Return the function that training applies to the parameters before each update: `projected`, or the identity."""
    return getattr(network, "projected", lambda params: params)
