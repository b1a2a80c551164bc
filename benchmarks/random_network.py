"""Networks with their initial weights, for timings: the speed of a network does not depend on its weights."""

from __future__ import annotations

from typing import Any

import jax

from score_sde.models.networks import build_network, network_score
from score_sde.models.parameterization import build_parameterization
from score_sde.models.score import NetworkScore
from score_sde.sde_lib import SDE
from score_sde.training.state import init_params


def first_params(config: Any) -> Any:
    """The initial weights, drawn on the CPU and compiled without optimization, which would take longer than drawing them."""
    network = build_network(config)
    with jax.default_device(jax.devices("cpu")[0]):
        init = jax.jit(
            lambda: init_params(config, network),
            compiler_options={"xla_backend_optimization_level": 0},
        )
        return jax.device_get(init())


def random_network(config: Any, sde: SDE) -> NetworkScore:
    """The config's network with its initial weights, on the default device."""
    params = jax.device_put(first_params(config))
    return network_score(build_network(config), params, build_parameterization(config, sde))
