"""Strict reading, and writing, of the {optimizer, model, ema, step} of score_sde_pytorch's save_checkpoint.

`model` has every parameter by name. `ema["shadow_params"]` is a list of only those that need a gradient, in the order
of parameters(); the frequencies of a Fourier embedding are therefore taken from `model`. The optimizer state is
numbered by the position in parameters(), and has no entry for a parameter that has had no gradient yet.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from score_sde.errors import UserError
from score_sde.foreign_weights.names import (
    PREFIX,
    SIGMAS,
    Parameter,
    from_tree,
    parameters,
    to_tree,
    without_prefix,
)
from score_sde.foreign_weights.record import Moments, Record, check_count, check_float32, entry
from score_sde.foreign_weights.restricted_pickle import Tensor
from score_sde.foreign_weights.torch_file import TorchFile
from score_sde.training.named_shapes import check_same
from score_sde.training.optimizer import learning_rate

MU, NU = "exp_avg", "exp_avg_sq"


def read(file: TorchFile, network: Any, file_format: str) -> Record:
    """Read the training state from a file.

    Raises:
      UserError: something is missing, or a name, a shape or the noise levels are not those of the network.
    """
    contents = file.contents
    step = check_count("step", entry(contents, "step"))
    model = without_prefix(entry(contents, "model"))
    ema_list = entry(contents, "ema", "shadow_params")
    ema_rate = float(entry(contents, "ema", "decay"))
    every = parameters(network)
    moving = [p for p in every if p.trained]

    levels = model.pop(SIGMAS, None)
    _check_tensors(step, {f"model.{name}": v for name, v in model.items()}, every, "model.{}")
    if len(ema_list) != len(moving):
        raise UserError(
            f"ema.shadow_params of the file has {len(ema_list)} arrays; expected the {len(moving)} "
            "parameters of the config's network that are trained"
        )
    ema = {p.name: tensor for p, tensor in zip(moving, ema_list, strict=True)}
    _check_tensors(step, {f"ema.{name}": v for name, v in ema.items()}, moving, "ema.{}")
    adam = _adam_state(contents, len(every))
    moments = None if adam is None else _moments(file, step, adam, every)
    if levels is not None:
        _check_levels(file, levels, network)

    fixed = {p.name: model[p.name] for p in every if not p.trained}
    params, ema_params = (
        to_tree(every, {name: file.array(tensor) for name, tensor in tensors.items()})
        for tensors in (model, ema | fixed)
    )
    return Record(file_format, step, params, ema_params, moments, ema_rate)


def _check_tensors(
    step: int, given: dict[str, Any], expected: list[Parameter], pattern: str
) -> None:
    """Refuse anything but float32 tensors with these names and shapes."""
    tensors = {name: value for name, value in given.items() if isinstance(value, Tensor)}
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    check_same(step, shapes, {pattern.format(p.name): p.shape for p in expected})
    check_float32(tensors)


def _adam_state(contents: dict[str, Any], num_parameters: int) -> dict[int, Any] | None:
    """Adam's state by position in parameters(); None if the file has no optimizer."""
    if contents.get("optimizer") is None:
        return None
    groups = entry(contents, "optimizer", "param_groups")
    # Early versions of PyTorch number parameters by their memory address.
    numbers = [number for group in groups for number in entry(group, "params")]
    if len(numbers) != num_parameters:
        raise UserError(
            f"the optimizer of the file has {len(numbers)} parameters, the config's network {num_parameters}"
        )
    state = entry(contents, "optimizer", "state")
    return {place: state[number] for place, number in enumerate(numbers) if number in state}


def _moments(file: TorchFile, step: int, adam: dict[int, Any], every: list[Parameter]) -> Moments:
    """Adam's moments: zeros for parameters without gradient, and for all parameters before the first update."""
    moving = [p for p in every if p.trained] if adam else []
    for key in (MU, NU):
        given = {f"{every[i].name}.{key}": entry(state, key) for i, state in adam.items()}
        _check_tensors(step, given, moving, "{}." + key)
    counts = {
        check_count("step of the optimizer", _number(file, entry(s, "step"))) for s in adam.values()
    }
    if len(counts) > 1:
        raise UserError(
            f"the optimizer of the file has made {min(counts)} updates of some parameters and {max(counts)} of others"
        )
    mu, nu = (
        to_tree(
            every,
            {
                p.name: file.array(adam[i][key]) if i in adam else np.zeros(p.shape, np.float32)
                for i, p in enumerate(every)
            },
        )
        for key in (MU, NU)
    )
    return Moments(counts.pop() if counts else 0, mu, nu)


def _number(file: TorchFile, value: Any) -> Any:
    """The value of a number, which newer versions of PyTorch store as a tensor without axes."""
    if isinstance(value, Tensor) and value.shape == ():
        return file.array(value).item()
    return value


def noise_levels(network: Any) -> np.ndarray:
    """The published table of noise levels: geometric, decreasing from sigma_max to sigma_min, float64."""
    ends = np.log(network.sigma_max), np.log(network.sigma_min)
    return np.exp(np.linspace(*ends, network.num_scales))


def _check_levels(file: TorchFile, levels: Any, network: Any) -> None:
    """Refuse a table of other noise levels: it is not a parameter, but shows that the network was trained for others."""
    expected = noise_levels(network)
    sound = isinstance(levels, Tensor) and len(levels.shape) == 1 and levels.shape[0] > 0
    given = file.array(levels) if sound else np.zeros(1)
    if given.shape != expected.shape or not np.allclose(given, expected, rtol=1e-5, atol=0):
        raise UserError(
            f"the file's network knows {len(given)} noise levels from {given[0]:g} to {given[-1]:g}, the config's "
            f"{len(expected)} from {expected[0]:g} to {expected[-1]:g}; set model.num_scales, model.sigma_max "
            "and model.sigma_min to those it was trained with"
        )


def contents_of(record: Record, network: Any, config: Any) -> dict[str, Any]:
    """The contents that save_checkpoint would write for this state, with arrays instead of tensors."""
    every = parameters(network)
    moving = [p for p in every if p.trained]
    model, ema = (from_tree(every, tree) for tree in (record.params, record.ema_params))
    return {
        "optimizer": _optimizer(record, every, config),
        "model": {
            PREFIX + SIGMAS: noise_levels(network),
            **{PREFIX + name: array for name, array in model.items()},
        },
        "ema": {
            "decay": record.ema_rate,
            "num_updates": record.step if config.model.ema_warmup else None,
            "shadow_params": [ema[p.name] for p in moving],
        },
        "step": record.step,
    }


def _optimizer(record: Record, every: list[Parameter], config: Any) -> dict[str, Any]:
    """The state of torch.optim.Adam, with the entries that all of its versions can read."""
    optim = config.optim
    state: dict[int, Any] = {}
    if record.moments is not None and record.moments.updates > 0:
        mu, nu = (from_tree(every, tree) for tree in record.moments[1:])
        state = {
            i: {"step": record.moments.updates, MU: mu[p.name], NU: nu[p.name]}
            for i, p in enumerate(every)
            if p.trained
        }
    group = {
        # The learning rate of the last update; each update sets its own.
        "lr": float(learning_rate(config)(max(record.step - 1, 0))),
        "betas": (optim.beta1, optim.beta2),
        "eps": optim.eps,
        "weight_decay": optim.weight_decay,
        "amsgrad": False,
        "params": list(range(len(every))),
    }
    return {"state": state, "param_groups": [group]}
