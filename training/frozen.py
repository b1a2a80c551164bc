"""Weights of a network that no update moves: those of a ControlNet's base (models/control.py), of another run's folder.

A run begins with the base's averaged weights, and with a control that has a copy of them where it has layers of the same name. The
base is kept as base.npz beside the checkpoints: what becomes of its own folder does not matter then, and a folder with a control can
be moved alone. It is no part of the training state: it has no gradient, no moments and no average, and no checkpoint holds it.
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

# Fields in which base and control may differ, though all others of the weights must not.
OF_CONTROL = ("model.name", "model.condition_", "model.control_", "condition.")


def frozen_names(network: Any) -> tuple[str, ...]:
    """Names of the parts of a network's parameters that stay; () for all but a ControlNet."""
    frozen = getattr(network, "frozen", None)
    return frozen() if frozen else ()


def trained_part(network: Any, params: Any) -> Any:
    """The parameters that updates move, with a state of the optimizer and an average: all, unless some are frozen."""
    names = frozen_names(network)
    return {name: of for name, of in params.items() if name not in names} if names else params


def joined(trained: Any, frozen: Any) -> Any:
    """What the network is called with: both parts; `frozen` is () where there is none."""
    return {**trained, **frozen} if frozen else trained


def frozen_weights(config: Any, network: Any, workdir: Path, begins: bool = False) -> Any:
    """The frozen part: that of the folder, or where a run begins that of the base's; () where nothing is frozen.

    Raises:
      UserError: no base, or one of another network, process or kind of images.
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
    """The averaged weights of the newest checkpoint in config.model.control_base.

    Raises:
      ConfigError: there is none, or it means something else than this config says.
    """
    given = config.model.control_base
    field = f"model.control_base={given!r}"
    if not given:
        raise ConfigError(
            f"{field}: name the folder in which the network was trained that is to be led, by --mode train with model.name='ncsnpp'"
        )
    if not config.model.control_scale:
        raise ConfigError(
            "model.control_scale=0.0 in training: the control would have no gradient; train with 1, say, and set 0 when sampling"
        )
    try:
        base = read_config(user_path(given))
        if base.model.name != "ncsnpp" or base.training.task != "score":
            raise ConfigError(
                f"it holds model.name={base.model.name!r} of training.task={base.training.task!r}; expected 'ncsnpp', a score network"
            )
        if base.model.condition_image != "none":
            raise ConfigError(
                f"it is conditioned on an image (model.condition_image={base.model.condition_image!r}) already; train one that is not"
            )
        check_alike(base, config)
        return folder_weights(user_path(given), template)[0]
    except UserError as error:
        raise ConfigError(f"{field}: {error}") from None


def check_alike(base: Any, config: Any) -> None:
    """Refuse fields of the weights in which base and control differ."""
    found = [
        f"{name}={now!r} (the base has {before!r})"
        for name, before, now in differences(as_json(base), as_json(config), {Role.WEIGHTS})
        if not name.startswith(OF_CONTROL)
    ]
    if found:
        raise ConfigError(
            f"the network there is of another kind: {', '.join(found)}; give the fields of its config"
        )


def keep(frozen: Any, workdir: Path) -> None:
    """Write the frozen part beside the checkpoints of a run that begins."""
    if frozen:
        keep_base(workdir, frozen[BASE])


def first_weights(config: Any, network: Any, frozen: Any) -> Weights | None:
    """What a control begins with: the base's layers, where it has some of the same name, and fresh ones; None without a base."""
    if not frozen:
        return None

    def read(wanted: Any) -> Any:
        init = jax.jit(lambda: trained_part(network, init_params(config, network)))
        fresh = init()[CONTROL]
        return {CONTROL: {name: frozen[BASE].get(name, of) for name, of in fresh.items()}}

    return Weights(f"a copy of the encoder in {config.model.control_base}", read)


def with_frozen(evaluator: Evaluator, frozen: Any) -> Evaluator:
    """The evaluator, asked about the whole network of which an update moves a part."""
    if not frozen:
        return evaluator
    return dataclasses.replace(
        evaluator,
        evaluate=lambda averaged, step: evaluator.evaluate(joined(averaged, frozen), step),
        draw=lambda averaged, step: evaluator.draw(joined(averaged, frozen), step),
    )
