"""Starting a run from the averaged weights of another one, for example to fine-tune on other data (training.init_from)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from score_sde.data.classes import listed
from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path
from score_sde.foreign_weights import checkpoint_file
from score_sde.foreign_weights.published_networks import check_published
from score_sde.progress import say
from score_sde.sde_lib import SDES
from score_sde.training.field_roles import Role
from score_sde.training.folder_weights import folder_weights
from score_sde.training.recorded_config import as_json, differences, recorded, recorded_classes
from score_sde.training.start import Weights

SHOWN = 4  # number of fields in a message


def weights_of(config: Any) -> Weights | None:
    """Return the weights that config.training.init_from names, or None if it is empty."""
    source = config.training.init_from
    if not source:
        return None
    return Weights(
        f"the averaged weights of {source}",
        lambda shapes: averaged(config, user_path(source), shapes),
    )


def check_source(config: Any) -> None:
    """Refuse a training.init_from that does not exist.

    Raises:
      ConfigError: says what may be given.
    """
    if not config.training.init_from:
        return
    source = user_path(config.training.init_from)
    if not source.exists():
        raise ConfigError(
            f"training.init_from={str(source)!r} does not exist; give a working directory with checkpoints or a published checkpoint file, or "
            "leave it empty to begin from scratch"
        )


def averaged(config: Any, source: Path, shapes: Any) -> Any:
    """Load the averaged parameters of a working directory's newest checkpoint, or of a published checkpoint file.

    For a folder of adapters, these are the base weights with the adapters merged in.

    Raises:
      ConfigError: there are none, their names or shapes differ from `shapes`, or they belong to another network or parameterization.
    """
    field = f"training.init_from={str(source)!r}"
    check_source(config)
    try:
        if source.is_dir():
            check_same_network(config, source)
            return folder_weights(source, shapes)[0]
        check_published(config)
        record = checkpoint_file.read(source, config)
    except UserError as error:
        raise ConfigError(f"{field}: {error}") from None
    for note in record.notes:
        say(f"{field}: {note}")
    return record.ema_params


def check_same_network(config: Any, source: Path) -> None:
    """Check that the weights have the same meaning in the config's network, even if their shapes fit; print what else differs.

    Weights trained with another process, image size or number of levels are accepted, as a mere initial guess.

    Raises:
      UserError: the networks or what they predict differ; the message lists the first such fields.
    """
    earlier = recorded(source)
    if earlier is None:
        return
    network = "noisy_classifier." if config.training.task == "classifier" else "model."
    of_process = {f"model.{name}" for process in SDES.values() for name in process.options()}
    refused, said = list[str](), list[str]()
    for name, before, now in differences(earlier, as_json(config), {Role.WEIGHTS}):
        its_own = name.startswith(network) and name not in of_process
        found = refused if its_own or name == "data.centered" else said
        found.append(f"{name}={now!r} (there {before!r})")
    if refused:
        raise UserError(
            f"its network is another: {shortened(refused)}; give the fields that it was trained with, or begin from scratch"
        )
    if said:
        say(
            f"starting from the weights of {source}, which were trained with different settings: {shortened(said)}"
        )


def say_other_classes(source: Path, classes: Sequence[str]) -> None:
    """Print a message if the weights were trained with other classes, which is allowed since they may be trained on other data now."""
    theirs = recorded_classes(source) if source.is_dir() else ()
    if theirs and theirs != tuple(classes):
        say(
            f"starting from the weights of {source}, whose classes, in the order of their labels, are {listed(theirs)}; here they are {listed(classes)}"
        )


def shortened(differences: list[str]) -> str:
    """Return the first differences and the number of further ones, in words."""
    rest = len(differences) - SHOWN
    return ", ".join(differences[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
