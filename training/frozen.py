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
import numpy as np

from score_sde.devices import replicated
from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path, write_whole
from score_sde.models.control import BASE, CONTROL
from score_sde.npz import read_npz
from score_sde.training.checkpoints import checkpoint_folder, restore_ema, saved_steps
from score_sde.training.named_shapes import named, shapes
from score_sde.training.recorded_config import Role, as_json, differences, read_config
from score_sde.training.start import Weights
from score_sde.training.state import init_params
from score_sde.training.task import Evaluator

FILE = "base.npz"
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
        found = of_base(config, template)
    else:
        found = kept(workdir / FILE, template)
    return {BASE: jax.device_put(found, replicated())}


def of_base(config: Any, template: Any) -> Any:
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
                f"it is told an image (model.condition_image={base.model.condition_image!r}) already; train one that is told none"
            )
        check_alike(base, config)
        return restore_ema(user_path(given), template)[0]
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
    if frozen and jax.process_index() == 0:
        arrays = {name: np.asarray(of) for name, of in named(frozen[BASE]).items()}
        write_whole(workdir / FILE, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def kept(path: Path, template: Any) -> Any:
    """The parameters in a file, which must be those of the template.

    Raises:
      UserError: no such file, or one of other parameters.
    """
    try:
        arrays = read_npz(path)
    except ValueError as error:
        raise UserError(
            f"{path} cannot be read ({error}); it holds the network that the control in this folder leads: put back a copy"
        ) from error
    if {name: of.shape for name, of in arrays.items()} != shapes(template):
        raise UserError(
            f"{path} holds parameters of another network than the config's; put back the file of this run"
        )
    return jax.tree.unflatten(
        jax.tree.structure(template), [arrays[name] for name in named(template)]
    )


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
