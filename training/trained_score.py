"""The score model that a config describes: a network with a checkpoint's averaged weights, or an exact score."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from score_sde.data.mixture import mixture_parameters
from score_sde.devices import memory_of_devices
from score_sde.errors import ConfigError
from score_sde.machine import check_memory
from score_sde.models.consistency import ConsistencyModel, no_score
from score_sde.models.exact import ProductMixtureScore
from score_sde.models.networks import build_network, network_score
from score_sde.models.parameterization import build_parameterization
from score_sde.models.score import ScoreModel
from score_sde.sde_lib import SDE
from score_sde.training.adapters import chosen_adapters, with_adapters
from score_sde.training.changed_since import changed_since_training
from score_sde.training.folder_weights import folder_weights
from score_sde.training.frozen import frozen_weights, joined, trained_part
from score_sde.training.recorded_config import (
    check_learned_no_class,
    check_recorded,
    recorded_classes,
)
from score_sde.training.state import init_params
from score_sde.unfinished import digest_of

CONSISTENCY = "consistency"  # config.training.task of networks without a score
LONGEST = 100  # bytes of the adapters in a file name, which may have 255 in all
EXACT = "mixture"  # config.model.name of the score known in closed form


def check_score_model(config: Any, sde: SDE, to_sample: bool = False) -> None:
    """Check that the network can be built, or that an exact score is that of the configured data.

    Args:
      to_sample: whether the model is only to be trained or sampled from, which is possible without a score too.

    Raises:
      ConfigError: the model has no score, cannot be built, or is the exact score of another distribution than the data's, against
        which no measurement would be meaningful.
    """
    if config.training.task == CONSISTENCY and not to_sample:
        raise ConfigError(no_score())
    if config.training.task == "classifier":
        raise ConfigError(
            f"training.task={config.training.task!r}: a classifier has no score; set sampling.guidance.classifier to its folder, and "
            "use the config and the folder of a score network"
        )
    updated = chosen_adapters(config)
    if config.model.name == EXACT:
        if updated:
            raise ConfigError(
                f"adapters={config.adapters!r} with model.name={EXACT}: an exact score has no weights to update; remove adapters"
            )
        if config.model.condition_image != "none":
            raise ConfigError(
                f"model.condition_image={config.model.condition_image!r} with model.name={EXACT}: an exact score is not conditioned on images; set it "
                "to none, or use a network"
            )
        if config.ema_sigma_rel:
            raise ConfigError(
                f"ema_sigma_rel={config.ema_sigma_rel} with model.name={EXACT}: an exact score has no weights; set ema_sigma_rel=0"
            )
        if config.data.centered:
            raise ConfigError(
                f"data.centered=True with model.name={EXACT}, which is the score of the mixture itself, not of 2 x - 1; set "
                "data.centered=False"
            )
        if config.data.name != EXACT:
            raise ConfigError(
                f"model.name={EXACT} is the exact score of data.name={EXACT}, but data.name={config.data.name!r}; "
                "use that data, or a network"
            )
        return
    build_parameterization(config, sde)
    # Shapes only: widths that the normalization groups do not divide show up here, in a second or two.
    shapes = jax.eval_shape(lambda: init_params(config, build_network(config)))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    check_memory(
        f"a network of {parameters:,} parameters (model.nf, model.ch_mult)",
        4 * parameters,
        memory_of_devices(),
    )


def score_model(config: Any, sde: SDE, params: Any) -> Any:
    """Return the configured network with these parameters, as a score model or as a consistency model, which has no score."""
    return score_models(config, sde)(params)


def score_models(config: Any, sde: SDE) -> Callable[[Any], Any]:
    """Return the function params -> `score_model`, sharing one network so that other parameters do not retrace jitted functions."""
    network, parameterization = build_network(config), build_parameterization(config, sde)

    def with_params(params: Any) -> Any:
        score = network_score(network, params, parameterization)
        if config.training.task == CONSISTENCY:
            return ConsistencyModel(score, sde, config.training.eps)
        return score

    return with_params


class LoadedScore(NamedTuple):
    """A score model and the origin of its weights."""

    model: ScoreModel
    checkpoint_step: int | None
    """The training step of the weights; None for a score known in closed form."""
    sigma_rel: float = 0.0
    """The width of the power-function average used as weights; 0: the EMA."""
    adapters: tuple[tuple[str, float], ...] = ()
    """The folders or files of the low-rank updates applied to the weights, each with its factor."""
    changes: Mapping[str, Any] = MappingProxyType({})
    """Fields of the network and its data that differ from those of the training: `changed_since_training`."""

    @property
    def name(self) -> str:
        """A name for the weights, used in file names."""
        width = f"-ema{self.sigma_rel:g}" if self.sigma_rel else ""
        updates = "".join(
            f"-{Path(name).name.removesuffix('.npz')}{weight:g}" for name, weight in self.adapters
        )
        if len(os.fsencode(updates)) > LONGEST:
            updates = f"-adapters-{digest_of({'adapters': updates})}"
        return f"step{self.checkpoint_step or 0}{width}{updates}"

    @property
    def recorded(self) -> dict[str, Any]:
        """The origin of the weights as written to records, and what has changed since."""
        width = {"ema_sigma_rel": self.sigma_rel} if self.sigma_rel else {}
        updates = {"adapters": [list(pair) for pair in self.adapters]} if self.adapters else {}
        return {"checkpoint_step": self.checkpoint_step, **width, **updates, **self.changes}


def averaged_params(config: Any, workdir: Path, template: Any) -> tuple[Any, int]:
    """Return the averaged parameters that config selects and their training step.

    Raises:
      UserError: there is no such checkpoint, it has another architecture, or it has no such average.
    """
    return folder_weights(workdir, template, config.checkpoint_step, config.ema_sigma_rel)


def load_score_model(config: Any, sde: SDE, workdir: Path) -> LoadedScore:
    """Load the score model to sample from or evaluate.

    Raises:
      UserError: the folder has no checkpoint, or one of another architecture or another kind of training.
    """
    if config.model.name == EXACT:
        weights, means, variances = (
            jnp.asarray(p, jnp.float32) for p in mixture_parameters(config.data)
        )
        return LoadedScore(ProductMixtureScore(weights, means, variances, sde), None)
    check_recorded(
        config, workdir
    )  # before shapes are compared: it names the fields, not the arrays
    check_learned_no_class(config, workdir)
    network = build_network(config)
    template = jax.eval_shape(lambda: trained_part(network, init_params(config, network)))
    trained, step = averaged_params(config, workdir, template)
    whole = joined(trained, frozen_weights(config, network, workdir))
    model = score_model(config, sde, with_adapters(config, whole, recorded_classes(workdir)))
    adapters = tuple(chosen_adapters(config))
    changes = changed_since_training(config, workdir)
    return LoadedScore(model, step, config.ema_sigma_rel, adapters, changes)
