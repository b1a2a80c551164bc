"""The class names that belong to a network's labels, as recorded in its folder or in the folder that it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from score_sde.data.classes import listed
from score_sde.errors import ConfigError
from score_sde.files import user_path
from score_sde.progress import say
from score_sde.training.checkpoints import checkpoint_folder, saved_steps
from score_sde.training.recorded_config import recorded_classes


def known_classes(config: Any, workdir: Path) -> tuple[str, ...]:
    """Return the class names of the folder's network in the order of its labels; () if none are recorded.

    A new run takes them from its teacher or its ControlNet base. A config.json without a checkpoint comes from a failed start and
    is ignored.

    Raises:
      UserError: a recorded config is damaged.
    """
    folders = [workdir]
    if not saved_steps(checkpoint_folder(workdir)):
        others = (config.consistency.teacher, config.model.control_base)
        folders = [user_path(name) for name in others if name]
    return next((names for folder in folders if (names := recorded_classes(folder))), ())


def check_every_class(config: Any, classes: Sequence[str]) -> None:
    """Refuse a new network of more classes than the data's `classes`, since samples of the others would be of an untrained label.

    A network that learns from one of more classes must have as many, so only a note is printed.

    Raises:
      ConfigError: there are more, or sampling.labels names one of them.
    """
    section = "noisy_classifier" if config.training.task == "classifier" else "model"
    number, most = config[section].num_classes, len(classes)
    if not 0 < most < number:
        return
    without = f"class {most}" if most + 1 == number else f"classes {most} to {number - 1}"
    what = f"{section}.num_classes={number}, but {config.data.name!r} has {most} classes ({listed(classes)}): {without} would have no images"
    others = (config.training.init_from, config.consistency.teacher, config.model.control_base)
    if not any(others):
        raise ConfigError(f"{what}; set {section}.num_classes={most}")
    if max(config.sampling.labels, default=0) >= most:
        raise ConfigError(
            f"sampling.labels={tuple(config.sampling.labels)} with {what}; leave these out"
        )
    say(f"note: {what}, and will not be sampled")


def check_same_classes(what: str, folder: Path, classes: Sequence[str], of: str) -> None:
    """Check that the labels of the network in a folder stand for the same classes as `classes`, which belong to the network `of`.

    If either has no names, there is nothing to compare.

    Raises:
      ConfigError: the classes differ; the message lists both.
    """
    theirs = recorded_classes(folder) if folder.is_dir() else ()
    if classes and theirs and theirs != tuple(classes):
        raise ConfigError(
            f"{what}: the classes of {folder}, in the order of their labels, are {listed(theirs)}, but those of {of} are {listed(classes)}: "
            "use networks of the same classes"
        )
