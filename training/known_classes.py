"""By which names a network knows the numbers of its classes: those that its folder, or the folder it learns from, has recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from score_sde.data.classes import listed
from score_sde.errors import ConfigError
from score_sde.files import user_path
from score_sde.training.checkpoints import checkpoint_folder, saved_steps
from score_sde.training.recorded_config import recorded_classes


def known_classes(config: Any, workdir: Path) -> tuple[str, ...]:
    """Names of the classes in the order of the numbers that the folder's network knows; () where none are recorded.

    A run that begins has them from the network that teaches it, or that it leads; config.json without a checkpoint is of a start
    that failed, and binds nothing.

    Raises:
      UserError: a recorded configuration is damaged.
    """
    folders = [workdir]
    if not saved_steps(checkpoint_folder(workdir)):
        others = (config.consistency.teacher, config.model.control_base)
        folders = [user_path(name) for name in others if name]
    return next((names for folder in folders if (names := recorded_classes(folder))), ())


def check_same_classes(what: str, folder: Path, classes: Sequence[str], of: str) -> None:
    """Refuse the network in a folder if its numbers stand for other classes than these, which are `of` another one.

    Without names on either side there is nothing to compare.

    Raises:
      ConfigError: with both, by their numbers.
    """
    theirs = recorded_classes(folder) if folder.is_dir() else ()
    if classes and theirs and theirs != tuple(classes):
        raise ConfigError(
            f"{what}: the classes of {folder}, by their numbers, are {listed(theirs)}, and those of {of} are {listed(classes)}: "
            "take networks of the same classes"
        )
