"""The config that a folder's checkpoints were trained with, so that weights are not read as what they are not.

Shapes tell one architecture from another; they cannot tell VP from sub-VP, or [-1, 1] from [0, 1], and a sample
or a likelihood under the wrong one looks like a bad model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from score_sde.configs.default import get_config
from score_sde.errors import UserError

FILE = "config.json"

# What may change between training a network and using it, or going on with its training.
FREE_MODEL_FIELDS = {
    "discrete_labels",
    "dropout",
    "dtype",
    "ema_rate",
    "ema_warmup",
    "init_scale",
}
DATA_FIELDS = {"image_size", "num_channels", "num_levels", "centered", "uniform_dequantization"}


def record_config(config: Any, workdir: Path) -> None:
    """Write the config beside the checkpoints, unless it is there: the first run of a folder defines it."""
    path = workdir / FILE
    if jax.process_index() == 0 and not path.exists():
        path.write_text(json.dumps(as_json(config), indent=1) + "\n")


def check_recorded(config: Any, workdir: Path) -> None:
    """Refuse a config under which the folder's weights mean something else.

    Raises:
      UserError: with the fields that differ.
    """
    path = workdir / FILE
    if not path.exists():
        return
    recorded, given = (
        dict(defining_fields(fields)) for fields in (json.loads(path.read_text()), as_json(config))
    )
    # A field that came after the folder was made has the value that changes nothing: its default.
    recorded = dict(defining_fields(as_json(get_config()))) | recorded
    differences = [
        f"{name}={given.get(name)!r} (trained with {recorded.get(name)!r})"
        for name in sorted(recorded.keys() | given.keys())
        if recorded.get(name) != given.get(name)
    ]
    if differences:
        raise UserError(
            f"the network in {workdir} was trained with another config: {', '.join(differences)}; "
            "use the config that it was trained with, or another --workdir"
        )


def read_config(workdir: Path) -> Any:
    """The config that a folder was made with; a field that came later has its default.

    Raises:
      UserError: there is none.
    """
    path = workdir / FILE
    if not path.exists():
        raise UserError(f"{path} does not exist: give a folder in which a network was trained")
    config = get_config()

    def fill(section: Any, recorded: dict[str, Any]) -> None:
        for name, value in recorded.items():
            if name not in section:
                continue  # of an older version
            if isinstance(value, dict):
                fill(section[name], value)
            else:
                # JSON has no tuples.
                section[name] = tuple(value) if isinstance(value, list) else value

    fill(config, json.loads(path.read_text()))
    return config


def as_json(config: Any) -> dict[str, Any]:
    return json.loads(config.to_json())


def defining_fields(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields that say what the weights mean, by dotted name."""
    yield "sde.name", config["sde"]["name"]
    yield "training.continuous", config["training"]["continuous"]
    for name, value in config["model"].items():
        if name not in FREE_MODEL_FIELDS:
            yield f"model.{name}", value
    for name in DATA_FIELDS:
        yield f"data.{name}", config["data"][name]
