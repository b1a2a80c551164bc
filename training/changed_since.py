"""What a command measures otherwise than the network was trained: fields that no mode refuses, but figures depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from score_sde.training.field_roles import Role, role
from score_sde.training.recorded_config import as_json, differences, recorded

IN_TRAINING = {f"model.{name}" for name in ("dropout", "ema_rate", "ema_warmup", "init_scale", "remat")}  # fmt: skip
"""Fields of config.model that do not change a trained network."""


def changed_since_training(config: Any, workdir: Path) -> dict[str, Any]:
    """The fields of the network, its images and its condition's noise that differ from the folder's config.json, with their values now.

    Fields with Role.WEIGHTS are refused before; of the others `model.control_scale` changes samples, for example, and
    `data.label` the images that a likelihood is measured of.

    Raises:
      UserError: config.json is damaged.
    """
    earlier = recorded(workdir)
    if earlier is None:
        return {}
    changes = differences(earlier, as_json(config), set(Role))
    return {name: now for name, _, now in changes if figures_depend_on(name)}


def figures_depend_on(name: str) -> bool:
    """Whether figures of trained weights depend on this field. Of the data, those that select or change images, not where they lie."""
    if in_data(name):
        return role(name) is Role.RUN
    return name == "condition.noise" or (name.startswith("model.") and name not in IN_TRAINING)


def in_data(name: str) -> bool:
    """Whether a field is one of config.data."""
    return name.startswith("data.")
