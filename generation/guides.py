"""Other models that guide samples, from folders of their own: sampling.guidance.worse and classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax

from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path
from score_sde.guidance.autoguidance import Unconditional
from score_sde.measurements.options import MeasurementOptions
from score_sde.models.networks import condition_names, has_condition_image
from score_sde.models.noisy_classifier import NoisyClassifier, NoisyClassifierNetwork
from score_sde.models.one_by_one import OneByOne
from score_sde.sde_lib import SDE, build_sde
from score_sde.spaces import trained_space
from score_sde.training.checkpoints import checkpoint_folder
from score_sde.training.classifier_task import init_classifier
from score_sde.training.folder_weights import folder_weights
from score_sde.training.known_classes import check_same_classes, known_classes
from score_sde.training.recorded_config import read_config, recorded_classes
from score_sde.training.trained_score import EXACT, load_score_model
from score_sde.unfinished import newest_file


class Guides(NamedTuple):
    """The models that guidance loads besides the sampled one; None for those not configured."""

    worse: Any = None
    """A worse score model (guidance/autoguidance.py)."""
    classifier: Any = None
    """A classifier of noisy images (guidance/classifier.py)."""

    def one_by_one(self) -> Self:
        """The same guides, with the worse model evaluated on one image at a time."""
        return self if self.worse is None else self._replace(worse=OneByOne(self.worse))


NO_GUIDES = Guides()


def has_worse(guidance: Any) -> bool:
    """Whether a worse network guides: that of another folder, or an earlier checkpoint."""
    return bool(guidance.worse or guidance.worse_step)


def has_guides(guidance: Any) -> bool:
    """Whether the guidance uses other models."""
    return has_worse(guidance) or bool(guidance.classifier)


def sampled_classes(config: Any) -> int:
    """The number of classes of the samples, those of the network or of the classifier that guides it; 0 if there are none."""
    guidance = config.sampling.guidance
    if condition_names(config) or not guidance.classifier:
        return config.model.num_classes if "label" in condition_names(config) else 0
    return config_in("classifier", guidance).noisy_classifier.num_classes


def classes_in_turn(config: Any, classes: Sequence[str] = ()) -> int:
    """The number of classes that samples may have: `sampled_classes`, or only those with which the network was trained, if their names are known.

    A network that was fine-tuned from one of more classes has further labels, of which it has seen no image.
    """
    own = "label" in condition_names(config)
    return len(classes) if own and classes else sampled_classes(config)


def classes_of_samples(config: Any, workdir: Path) -> tuple[str, ...]:
    """The class names of the samples in the order of their labels: the network's or, if it has none, those of the classifier that guides it."""
    classifier = config.sampling.guidance.classifier
    known = known_classes(config, workdir)
    if known or not classifier or condition_names(config):
        return known
    return recorded_classes(user_path(classifier))


def check_guides(config: Any, sde: SDE) -> None:
    """Refuse models that cannot guide the config's, without loading their weights.

    Raises:
      ConfigError: no such folder, or a model for another process, other images or other classes.
    """
    guidance = config.sampling.guidance
    if guidance.worse:
        check_worse(config, sde)
    elif guidance.worse_step and config.model.name == EXACT:
        raise ConfigError(
            f"sampling.guidance.worse_step={guidance.worse_step} with model.name={EXACT!r}: an exact score has no earlier checkpoints; set "
            "sampling.guidance.worse to the folder of a worse model"
        )
    if guidance.classifier:
        check_classifier(config, sde)
    elif guidance.classifier_scale != 1:
        raise ConfigError(
            f"sampling.guidance.classifier_scale={guidance.classifier_scale} without a classifier; set "
            "sampling.guidance.classifier to its folder, or remove it"
        )


def check_classifier(config: Any, sde: SDE) -> None:
    """Refuse a classifier for other images, another process or other classes."""
    guidance = config.sampling.guidance
    field = f"sampling.guidance.classifier={guidance.classifier!r}"
    other = config_in("classifier", guidance)
    check_alike(field, config, sde, other)
    if has_condition_image(config) or "text" in condition_names(config):
        raise ConfigError(
            f"{field} and a network conditioned on an image or a text: a classifier can guide only an unconditional or class-conditional network"
        )
    classes = other.noisy_classifier.num_classes
    if condition_names(config) and config.model.num_classes != classes:
        raise ConfigError(
            f"{field} has {classes} classes, but the guided network has {config.model.num_classes}; train one with the same classes"
        )


def check_worse(config: Any, sde: SDE) -> None:
    """Refuse a worse network for other images, another process or other conditions."""
    field = f"sampling.guidance.worse={config.sampling.guidance.worse!r}"
    worse = config_in("worse", config.sampling.guidance)
    check_alike(field, config, sde, worse)
    classes = worse.model.num_classes if condition_names(worse) else 0
    if classes not in (0, config.model.num_classes):
        raise ConfigError(
            f"{field} is conditioned on {classes} classes, but the guided network on {config.model.num_classes or 'none'}; use one "
            "with the same classes, or with none"
        )
    if worse.model.words and worse.model.words != config.model.words:
        raise ConfigError(
            f"{field} was trained with the words {worse.model.words}, but the guided network has {config.model.words or 'none'}; use one "
            "with the same words, or without any"
        )
    if condition_names(worse) and condition_image_settings(worse) != condition_image_settings(
        config
    ):
        raise ConfigError(
            f"{field} is not conditioned on the same images as the guided network (model.condition_image, config.condition); use "
            "one that is, or an unconditional one"
        )
    if condition_names(worse) not in ((), condition_names(config)):
        raise ConfigError(
            f"{field} is conditioned on {' and '.join(condition_names(worse))}, but the guided network on "
            f"{' and '.join(condition_names(config)) or 'nothing'}; use one conditioned on the same, or on nothing"
        )


def condition_image_settings(config: Any) -> Any:
    """The settings that determine on which images the config's network is conditioned; None for none."""
    if not has_condition_image(config):
        return None
    own = {name: of for name, of in config.model.items() if name.startswith("condition_")}
    return own, {name: config.condition[name] for name in MeasurementOptions.defaults()}


TASKS = {"worse": "score", "classifier": "classifier"}
"""The training task expected of each folder."""


def config_in(name: str, guidance: Any) -> Any:
    """The config of the folder that a field of the guidance names.

    Raises:
      ConfigError: no such folder, or one of another training task.
    """
    field = f"sampling.guidance.{name}={guidance[name]!r}"
    try:
        found = read_config(user_path(guidance[name]))
    except UserError as error:
        raise ConfigError(f"{field}: {error}") from None
    if found.training.task != TASKS[name]:
        raise ConfigError(
            f"{field} was trained with training.task={found.training.task!r}; expected a folder of training.task={TASKS[name]!r}"
        )
    return found


def check_alike(field: str, config: Any, sde: SDE, other: Any) -> None:
    """Refuse a model for other noisy images: another process, image size or range."""
    pairs = {
        "process": (sde, build_sde(other)),
        "space of images": (trained_space(config), trained_space(other)),
    }
    for what, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise ConfigError(
                f"{field} has another {what}, {theirs}, than the guided network, {ours}; train it with the same sde, "
                "model.beta_... or sigma_..., and data"
            )


def folders_of(config: Any, workdir: Path) -> list[Path]:
    """The folders from which the guides are loaded."""
    guidance = config.sampling.guidance
    worse = user_path(guidance.worse) if guidance.worse else workdir
    folders = [worse] if has_worse(guidance) else []
    return [*folders, user_path(guidance.classifier)] if guidance.classifier else folders


def ages_of(config: Any, workdir: Path) -> list[float]:
    """When the checkpoints of the guides last changed, for results that depend on them."""
    return [newest_file(checkpoint_folder(folder)) for folder in folders_of(config, workdir)]


def load_guides(config: Any, sde: SDE, workdir: Path | None) -> Guides:
    """Load the models that config.sampling.guidance names; `workdir` is that of the guided model.

    Raises:
      UserError: a folder without such weights, or one for other classes.
    """
    guidance = config.sampling.guidance
    classes = () if workdir is None else known_classes(config, workdir)
    for name in filter(guidance.get, TASKS):
        field, folder = f"sampling.guidance.{name}={guidance[name]!r}", user_path(guidance[name])
        check_same_classes(field, folder, classes, "the guided network")
    return Guides(
        load_worse(config, sde, workdir) if has_worse(guidance) else None,
        load_classifier(config, sde) if guidance.classifier else None,
    )


def load_classifier(config: Any, sde: SDE) -> NoisyClassifier:
    """Load the classifier, with the averaged weights of its newest checkpoint."""
    of = config_in("classifier", config.sampling.guidance)
    network: Any = NoisyClassifierNetwork.from_config(of)
    template = jax.eval_shape(lambda: init_classifier(of, network))
    params, _ = folder_weights(user_path(config.sampling.guidance.classifier), template)
    return NoisyClassifier(params, network.apply, sde)


def load_worse(config: Any, sde: SDE, workdir: Path | None) -> Any:
    """Load the score model of the worse network, from its own folder or an earlier checkpoint in `workdir`."""
    guidance = config.sampling.guidance
    folder = user_path(guidance.worse) if guidance.worse else workdir
    if folder is None:
        raise ConfigError(
            f"sampling.guidance.worse_step={guidance.worse_step} without a folder of checkpoints; set sampling.guidance.worse to one"
        )
    named = bool(guidance.worse)
    of = config_in("worse", guidance) if named else config.copy_and_resolve_references()
    of.checkpoint_step = guidance.worse_step
    model = load_score_model(of, sde, folder).model
    return Unconditional(model) if condition_names(config) and not condition_names(of) else model
