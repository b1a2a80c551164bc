"""Training a classifier of noisy images: training.task=classifier.

As a score network's in everything but the loss: images are mirrored, encoded and noised at the times of training.times, and the
cross entropy -ln p(label | x_t) of each is learnt, a mean over uniform times, or over log-normal ones by training.weighting, as the
accuracy is, from times of any density.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from score_sde.configs.default import check_options
from score_sde.data import Datasets
from score_sde.data.image_shape import image_shape
from score_sde.data.loader import labels_of
from score_sde.devices import Devices
from score_sde.errors import ConfigError, UserError
from score_sde.keys import Stream, stream_key
from score_sde.models.noisy_classifier import NoisyClassifier, NoisyClassifierNetwork
from score_sde.sde_lib import SDE, build_sde, expand
from score_sde.shapes import Images, Integers, Keys, PerImage
from score_sde.spaces import build_space
from score_sde.training.draws import DRAWS
from score_sde.training.evaluators import EVALUATORS
from score_sde.training.held_out import HeldOutLoss
from score_sde.training.objective import Objective
from score_sde.training.optimizer import build_optimizer
from score_sde.training.score_task import Kind, ScoreTask
from score_sde.training.task import Evaluator
from score_sde.training.times import Times, build_times
from score_sde.training.weightings import CLASSIFIER_WEIGHTINGS, Weighting

# Figures: the share of held-out images that are named right, over all times and at the first.
ACCURACY = "eval_accuracy"
ACCURACY_AT_EPS = "eval_accuracy_at_eps"


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A classifier, and the classes of the images that it is shown."""

    classifier: NoisyClassifier
    labels: Integers


@dataclasses.dataclass(frozen=True)
class ClassifierLoss:
    """-ln p(label | x_t) at the times that u picks, in nats; in place of a score model it is given a `Labelled`."""

    sde: SDE
    times: Times
    weighting: Weighting = jnp.ones_like

    def __call__(
        self, score_model: Any, x0: Images, u: PerImage, z: Images, dropout_keys: Keys | None = None
    ) -> PerImage:
        t = self.times.at(u)
        return self.weight(t) * self.at(score_model, x0, t, z, dropout_keys)

    def weight(self, t: PerImage) -> PerImage:
        """By which the mean over drawn times is one over the times of the weighting; its own mean is 1."""
        return self.times.correction(t) * self.weighting(t)

    def at(
        self, score_model: Any, x0: Images, t: PerImage, z: Images, dropout_keys: Keys | None = None
    ) -> PerImage:
        x = self.noised(x0, t, z)
        return -score_model.classifier.log_probability(x, t, score_model.labels, dropout_keys)

    def noised(self, x0: Images, t: PerImage, z: Images) -> Images:
        mean, sigma = self.sde.marginal(x0, t)
        return mean + expand(sigma, x0) * z

    def log_snr(self, u: PerImage) -> PerImage:
        return self.sde.log_snr(self.times.at(u))


@dataclasses.dataclass(frozen=True)
class Right(ClassifierLoss):
    """1 where the most probable class is the image's, 0 elsewhere."""

    def at(
        self, score_model: Any, x0: Images, t: PerImage, z: Images, dropout_keys: Keys | None = None
    ) -> PerImage:
        logits = score_model.classifier.logits(self.noised(x0, t, z), t, dropout_keys)
        return (jnp.argmax(logits, axis=1) == score_model.labels).astype(logits.dtype)


@dataclasses.dataclass(frozen=True)
class RightAtEps(Right):
    """The same of images with the least noise that there is in training, whatever u."""

    def __call__(
        self, score_model: Any, x0: Images, u: PerImage, z: Images, dropout_keys: Keys | None = None
    ) -> PerImage:
        return self.at(score_model, x0, self.times.at(jnp.zeros_like(u)), z, dropout_keys)


@dataclasses.dataclass(frozen=True)
class ClassifierObjective(Objective):
    """The cross entropy of a classifier of noisy images."""

    loss: ClassifierLoss

    def model(self, params: Any, condition: Any) -> Labelled:
        return Labelled(NoisyClassifier(params, self.apply, self.loss.sde), condition["label"])


@dataclasses.dataclass(frozen=True)
class ClassifierTask(ScoreTask):
    """The network and its cross entropy, as a Task (task.py)."""

    advice: str = "Try a smaller optim.lr, or a longer optim.warmup"

    @property
    def name(self) -> str:
        return f"noisy classifier of {self.config.data.name}"

    def init(self) -> Any:
        return init_classifier(self.config, self.network)


def init_classifier(config: Any, network: NoisyClassifierNetwork) -> Any:
    """The first parameters, a function of config.seed, float32; for shapes only: `jax.eval_shape` of it."""
    x = jnp.zeros((1, *image_shape(config.data)), jnp.float32)
    key = stream_key(config.seed, Stream.NOISY_CLASSIFIER_INIT)
    return network.init(key, x, jnp.ones(1, jnp.float32))["params"]


def check_classifier_training(config: Any) -> None:
    """Refuse what a classifier cannot be trained by, or what would change nothing.

    Raises:
      ConfigError: what was given, and what to do.
    """
    NoisyClassifierNetwork.from_config(config)
    training = config.training
    nothing = {
        "continuous": True,
        "label_dropout": 0.0,
        "augment": 0.0,
        "time_cells": 0,
        "quality_freq": 0,
    }
    for name, value in nothing.items():
        if training[name] != value:
            raise ConfigError(
                f"training.{name}={training[name]!r} is of score networks, which training.task='classifier' trains none of; set "
                f"training.{name}={value!r}"
            )
    if training.weighting not in CLASSIFIER_WEIGHTINGS:
        raise ConfigError(
            f"training.weighting={training.weighting!r} is of score networks, which training.task='classifier' trains none of; choose one of "
            f"{', '.join(CLASSIFIER_WEIGHTINGS)}: over uniform times, or over the log-normal ones of EDM"
        )
    if config.data.label >= 0:
        raise ConfigError(
            f"training.task='classifier' learns to tell classes apart, and data.label={config.data.label} leaves one; leave it out"
        )


def build_classifier_task(config: Any, sde: SDE | None = None) -> ClassifierTask:
    """The task that config names, without evaluators.

    Raises:
      UserError: a setting that cannot work.
    """
    check_options(config)
    check_classifier_training(config)
    sde = sde or build_sde(config)
    network: Any = NoisyClassifierNetwork.from_config(config)
    weighting = CLASSIFIER_WEIGHTINGS[config.training.weighting](config, sde)
    objective = ClassifierObjective(
        space=build_space(config),
        loss=ClassifierLoss(sde, build_times(config, sde), weighting),
        parameterization=None,
        apply=network.apply,
        null_condition=lambda condition: condition,
        random_flip=config.data.random_flip,
        draw=DRAWS[config.training.draws],
        batch_size=config.training.batch_size,
    )
    return ClassifierTask(config, network, objective, build_optimizer(config))


def check_classes(config: Any, datasets: Datasets) -> None:
    """Raise UserError for a class that the network does not have."""
    most = max(int(labels_of(split).max()) for split in (datasets.train, datasets.test))
    if most >= config.noisy_classifier.num_classes:
        raise UserError(
            f"{config.data.name!r} has images of class {most}, but noisy_classifier.num_classes={config.noisy_classifier.num_classes}; "
            f"set it to {most + 1}"
        )


def held_out_accuracy(
    config: Any, objective: Objective, datasets: Datasets, devices: Devices
) -> Evaluator:
    """The share of the test split's images that are named right: over all times, as the loss weighs them, and at the least noise."""
    check_classes(config, datasets)
    loss: Any = objective.loss  # a ClassifierLoss
    kinds: dict[str, Callable[..., ClassifierLoss]] = {ACCURACY: Right, ACCURACY_AT_EPS: RightAtEps}
    measured = {
        name: HeldOutLoss(
            config,
            dataclasses.replace(objective, loss=kind(loss.sde, loss.times, loss.weighting)),
            datasets.test,
            devices,
        )
        for name, kind in kinds.items()
    }
    # A share of the weights, not of the images: the few weights of a split may be far from their mean, 1.
    weights = np.asarray(loss.weight(loss.times.at(jnp.asarray(measured[ACCURACY].u))))
    mean_weight = float(weights.mean(dtype=np.float64))

    def accuracies(averaged: Any, step: int) -> dict[str, float]:
        found = {name: mean(averaged) for name, mean in measured.items()}
        return {**found, ACCURACY: found[ACCURACY] / mean_weight}

    return Evaluator(config.training.eval_freq, accuracies, figures=tuple(kinds))


CLASSIFIER = Kind(
    build_classifier_task,
    lambda config: ("label",),
    {**EVALUATORS, "held_out_accuracy": held_out_accuracy},
    draws=False,
)
