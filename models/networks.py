"""The score networks by the names that configs use (`config.model.name`)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.ddpm import DDPM
from models.ncsnpp import NCSNpp
from models.options import check_choice, check_image_size

__all__ = ["NETWORKS", "build_network", "check_image_size", "init_params"]

NETWORKS: dict[str, type[NCSNpp] | type[DDPM]] = {"ncsnpp": NCSNpp, "ddpm": DDPM}


def build_network(config: Any) -> nn.Module:
    """Builds the network that `config` describes.

    Args:
        config: with `model.name` one of NETWORKS, and the fields that its `from_config` reads.

    Raises:
        ValueError: unknown name, or options that the network cannot have.
    """
    check_choice("model.name", config.model.name, tuple(NETWORKS))
    return NETWORKS[config.model.name].from_config(config)


def init_params(network: Any, key: jax.Array) -> dict[str, Any]:
    """Draws the parameters of a new network.

    Compiling hundreds of small random draws takes far longer than running them (15 s for a network of one
    million parameters on a laptop's CPU), so on CPU they are compiled without optimisation (3 s).
    """
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    x = jnp.zeros((1, network.image_size, network.image_size, network.num_channels))
    return jax.jit(network.init, compiler_options=options)(key, x, jnp.ones(1))["params"]
