"""The other models by which samples are guided, from folders of their own: sampling.guidance.worse."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Self

from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path
from score_sde.guidance.autoguidance import ToldNothing
from score_sde.models.networks import conditions_of
from score_sde.models.score import OneByOne
from score_sde.sde_lib import SDE, build_sde
from score_sde.spaces import build_space
from score_sde.training.checkpoints import checkpoint_folder
from score_sde.training.recorded_config import read_config
from score_sde.training.trained_score import EXACT, load_score_model
from score_sde.unfinished import newest_file


class Guides(NamedTuple):
    worse: Any = None
    """A score model (guidance/autoguidance.py)."""

    def one_by_one(self) -> Self:
        """Asked for one image at a time."""
        return self if self.worse is None else self._replace(worse=OneByOne(self.worse))


NO_GUIDES = Guides()


def has_worse(guidance: Any) -> bool:
    return bool(guidance.worse or guidance.worse_step)


def has_guides(guidance: Any) -> bool:
    """Whether it names other models."""
    return has_worse(guidance)


def check_guides(config: Any, sde: SDE) -> None:
    """Refuse models that cannot guide the config's, without looking at their weights.

    Raises:
      ConfigError: no such folder, or one of another process, other images or other classes.
    """
    if config.sampling.guidance.worse:
        check_worse(config, sde)


def check_worse(config: Any, sde: SDE) -> None:
    field = f"sampling.guidance.worse={config.sampling.guidance.worse!r}"
    worse = config_in(field, config.sampling.guidance.worse)
    check_alike(field, config, sde, worse)
    classes = worse.model.num_classes if conditions_of(worse) else 0
    if classes not in (0, config.model.num_classes):
        raise ConfigError(
            f"{field} is told {classes} classes, and the network that it is to guide {config.model.num_classes or 'none'}; take one "
            "that is told the same classes, or none"
        )


def config_in(field: str, folder: str) -> Any:
    """The config that a folder's network was trained with."""
    try:
        return read_config(user_path(folder))
    except UserError as error:
        raise ConfigError(f"{field}: {error}") from None


def check_alike(field: str, config: Any, sde: SDE, other: Any) -> None:
    """Refuse a model of other noisy images: of another process, size or range."""
    pairs = {
        "process": (sde, build_sde(other)),
        "space of images": (build_space(config), build_space(other)),
    }
    for what, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise ConfigError(
                f"{field} has another {what}, {theirs}, than the network that it is to guide, {ours}; train it with the same sde, "
                "model.beta_... or sigma_..., and data"
            )


def folders_of(config: Any, workdir: Path) -> list[Path]:
    """Where the guides come from."""
    guidance = config.sampling.guidance
    worse = user_path(guidance.worse) if guidance.worse else workdir
    return [worse] if has_worse(guidance) else []


def ages_of(config: Any, workdir: Path) -> list[float]:
    """When their checkpoints last changed, for what depends on them."""
    return [newest_file(checkpoint_folder(folder)) for folder in folders_of(config, workdir)]


def load_guides(config: Any, sde: SDE, workdir: Path | None) -> Guides:
    """The models that config.sampling.guidance names; `workdir` is that of the model that is guided.

    Raises:
      UserError: a folder without such weights.
    """
    guidance = config.sampling.guidance
    return Guides(load_worse(config, sde, workdir) if has_worse(guidance) else None)


def load_worse(config: Any, sde: SDE, workdir: Path | None) -> Any:
    guidance = config.sampling.guidance
    folder = user_path(guidance.worse) if guidance.worse else workdir
    if folder is None or config.model.name == EXACT:
        raise ConfigError(
            f"sampling.guidance.worse_step={guidance.worse_step} without a folder of checkpoints; name one by sampling.guidance.worse"
        )
    of = read_config(folder) if guidance.worse else config.copy_and_resolve_references()
    of.checkpoint_step = guidance.worse_step
    model = load_score_model(of, sde, folder).model
    return ToldNothing(model) if conditions_of(config) and not conditions_of(of) else model
