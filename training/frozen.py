"""Frozen weights of a network: those of a ControlNet's base (models/control.py), which come from another run's folder.

A run begins with the base's averaged weights; layers of the control that have a namesake in the base begin as copies of it. The
base is stored as base.npz next to the checkpoints, so the run no longer depends on the base's own folder, and its folder can be
moved alone. The base is not part of the training state: it has no gradient, no moments and no average, and is in no checkpoint.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax

from score_sde.devices import replicated
from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path
from score_sde.models.control import BASE, CONTROL
from score_sde.training.checkpoints import checkpoint_folder, saved_steps
from score_sde.training.field_roles import Role
from score_sde.training.folder_weights import base_of, folder_weights, keep_base
from score_sde.training.recorded_config import as_json, differences, read_config
from score_sde.training.start import Weights
from score_sde.training.state import init_params
from score_sde.training.task import Evaluator

# The fields with Role.WEIGHTS in which base and control may differ.
OF_CONTROL = ("model.name", "model.condition_", "model.control_", "condition.")


def frozen_names(network: Any) -> tuple[str, ...]:
    """Return the names of the frozen parts of a network's parameters; () for all but a ControlNet."""
    frozen = getattr(network, "frozen", None)
    return frozen() if frozen else ()


def trained_part(network: Any, params: Any) -> Any:
    """Return the parameters that are trained, and so have an optimizer state and an average: all that are not frozen."""
    names = frozen_names(network)
    return {name: of for name, of in params.items() if name not in names} if names else params


def joined(trained: Any, frozen: Any) -> Any:
    """Join both parts to the parameters that the network is called with; `frozen` is () if nothing is frozen."""
    return {**trained, **frozen} if frozen else trained


def frozen_weights(config: Any, network: Any, workdir: Path, begins: bool = False) -> Any:
    """Load the frozen part, replicated on all devices; () if nothing is frozen.

    It is read from the working directory or, if `begins` and there is no checkpoint yet, from the base's own folder.

    Raises:
      UserError: there is no base, or it belongs to another network, process or kind of images.
    """
    if not frozen_names(network):
        return ()
    every = jax.eval_shape(lambda: init_params(config, network))
    template = every[BASE]
    if begins and not saved_steps(checkpoint_folder(workdir)):
        found = weights_of_base(config, template)
    else:
        found = base_of(workdir, template)
    return {BASE: jax.device_put(found, replicated())}


def weights_of_base(config: Any, template: Any) -> Any:
    """Load the averaged weights of the newest checkpoint in config.model.control_base.

    Raises:
      ConfigError: there is none, or its weights do not fit this config.
    """
    given = config.model.control_base
    field = f"model.control_base={given!r}"
    if not given:
        raise ConfigError(
            f"{field}: set it to the folder of the network to control, trained with --mode train and model.name='ncsnpp'"
        )
    if not config.model.control_scale:
        raise ConfigError(
            "model.control_scale=0.0 in training: the control would have no gradient; train with, for example, 1, and set 0 only when sampling"
        )
    try:
        base = read_config(user_path(given))
        if base.model.name != "ncsnpp" or base.training.task != "score":
            raise ConfigError(
                f"its network has model.name={base.model.name!r}, training.task={base.training.task!r}; expected 'ncsnpp' and 'score'"
            )
        if base.model.condition_image != "none":
            raise ConfigError(
                f"its network is already conditioned on an image (model.condition_image={base.model.condition_image!r}); train one that is not"
            )
        check_alike(base, config)
        return folder_weights(user_path(given), template)[0]
    except UserError as error:
        raise ConfigError(f"{field}: {error}") from None


def check_alike(base: Any, config: Any) -> None:
    """Raise ConfigError if base and control differ in fields that determine the meaning of the weights."""
    found = [
        f"{name}={now!r} (the base has {before!r})"
        for name, before, now in differences(as_json(base), as_json(config), {Role.WEIGHTS})
        if not name.startswith(OF_CONTROL)
    ]
    if found:
        raise ConfigError(
            f"its network differs from the one configured: {', '.join(found)}; set these fields as for the base"
        )


def keep(frozen: Any, workdir: Path) -> None:
    """Store the frozen part next to the checkpoints of a new run."""
    if frozen:
        keep_base(workdir, frozen[BASE])


def first_weights(config: Any, network: Any, frozen: Any) -> Weights | None:
    """Return a control's initial weights: copies of the base's layers of the same names, the rest fresh; None without a base."""
    if not frozen:
        return None

    def read(wanted: Any) -> Any:
        init = jax.jit(lambda: trained_part(network, init_params(config, network)))
        fresh = init()[CONTROL]
        return {CONTROL: {name: frozen[BASE].get(name, of) for name, of in fresh.items()}}

    return Weights(f"a copy of the encoder in {config.model.control_base}", read)


def with_frozen(evaluator: Evaluator, frozen: Any) -> Evaluator:
    """Wrap an evaluator of the whole network so that it takes the trained part only."""
    if not frozen:
        return evaluator
    return dataclasses.replace(
        evaluator,
        evaluate=lambda averaged, step: evaluator.evaluate(joined(averaged, frozen), step),
        draw=lambda averaged, step: evaluator.draw(joined(averaged, frozen), step),
    )
