"""The networks with published files, either training checkpoints or named arrays."""

from __future__ import annotations

from typing import Any

from score_sde.errors import ConfigError
from score_sde.foreign_weights.names import PUBLISHED_NETWORKS
from score_sde.models.networks import NETWORKS, build_network
from score_sde.models.noisy_classifier import NoisyClassifierNetwork

CLASSIFIER = "classifier"  # value of training.task
# Fields that add layers which no published network has -> their values without these layers.
OWN_LAYERS = {"condition_interval": False, "condition_noise": 0.0}
OF_WORDS = {"words": ""}  # the same, for PUBLISHED_NETWORKS only
ARRAYS = tuple(name for name, network in NETWORKS.items() if hasattr(network, "state_dict"))


def network_of(config: Any) -> Any:
    """The network that the config trains: its score network, or its classifier of noisy images.

    Raises:
      ConfigError: the network cannot be built.
    """
    of_classifier = config.training.task == CLASSIFIER
    return NoisyClassifierNetwork.from_config(config) if of_classifier else build_network(config)


def has_arrays(config: Any) -> bool:
    """Whether published files hold the network's weights as named arrays, without a training state."""
    return config.training.task == CLASSIFIER or config.model.name in ARRAYS


def check_published(config: Any) -> None:
    """Refuse a network without published files, by its name or because it has layers of its own.

    Raises:
      ConfigError: with the names of networks that have them, or with the required field values.
    """
    if config.training.task == CLASSIFIER:
        return
    name = config.model.name
    if not has_arrays(config) and name not in PUBLISHED_NETWORKS:
        raise ConfigError(
            f"model.name={name} has no published form to import or export; take one of {', '.join((*PUBLISHED_NETWORKS, *ARRAYS))}"
        )
    own_layers = OWN_LAYERS | (OF_WORDS if name in PUBLISHED_NETWORKS else {})
    for field, without in own_layers.items():
        if config.model[field] != without:
            raise ConfigError(
                f"model.{field}={config.model[field]!r}: no published network has layers for it, and no published program would load their "
                f"weights; networks are imported and exported with model.{field}={without!r} only"
            )
