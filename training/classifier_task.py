"""Training a classifier of noisy images (training.task=classifier).

Everything but the loss is as for a score network: images are mirrored, encoded and noised at times from training.times. The loss is
the cross-entropy -ln p(label | x_t). It and the accuracy are means over uniform times, or over log-normal ones by training.weighting,
estimated from times of any density.
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

# Figures: the fraction of held-out images classified correctly, averaged over all times and at the smallest time.
ACCURACY = "eval_accuracy"
ACCURACY_AT_EPS = "eval_accuracy_at_eps"


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A classifier, together with the labels of the images to classify."""

    classifier: NoisyClassifier
    labels: Integers


@dataclasses.dataclass(frozen=True)
class ClassifierLoss:
    """The cross-entropy -ln p(label | x_t) in nats, at the times selected by u; its `score_model` is a `Labelled`."""

    sde: SDE
    times: Times
    weighting: Weighting = jnp.ones_like

    def __call__(
        self, score_model: Any, x0: Images, u: PerImage, z: Images, dropout_keys: Keys | None = None
    ) -> PerImage:
        t = self.times.at(u)
        return self.weight(t) * self.at(score_model, x0, t, z, dropout_keys)

    def weight(self, t: PerImage) -> PerImage:
        """Importance weight that turns a mean over drawn times into one over the times of the weighting; its expectation is 1."""
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
    """The accuracy of an image: 1 if the most probable class is the correct one, otherwise 0."""

    def at(
        self, score_model: Any, x0: Images, t: PerImage, z: Images, dropout_keys: Keys | None = None
    ) -> PerImage:
        logits = score_model.classifier.logits(self.noised(x0, t, z), t, dropout_keys)
        return (jnp.argmax(logits, axis=1) == score_model.labels).astype(logits.dtype)


@dataclasses.dataclass(frozen=True)
class RightAtEps(Right):
    """The accuracy at the lowest noise level of training, whatever u is."""

    def __call__(
        self, score_model: Any, x0: Images, u: PerImage, z: Images, dropout_keys: Keys | None = None
    ) -> PerImage:
        return self.at(score_model, x0, self.times.at(jnp.zeros_like(u)), z, dropout_keys)


@dataclasses.dataclass(frozen=True)
class ClassifierObjective(Objective):
    """The cross-entropy objective of a classifier of noisy images."""

    loss: ClassifierLoss

    def model(self, params: Any, condition: Any) -> Labelled:
        return Labelled(NoisyClassifier(params, self.apply, self.loss.sde), condition["label"])


@dataclasses.dataclass(frozen=True)
class ClassifierTask(ScoreTask):
    """A noisy classifier and its cross-entropy as a Task (task.py)."""

    advice: str = "Try a smaller optim.lr, or a longer optim.warmup"

    @property
    def name(self) -> str:
        return f"noisy classifier of {self.config.data.name}"

    def init(self) -> Any:
        return init_classifier(self.config, self.network)


def init_classifier(config: Any, network: NoisyClassifierNetwork) -> Any:
    """Initialize the parameters, float32, from config.seed; use `jax.eval_shape` to get their shapes only."""
    x = jnp.zeros((1, *image_shape(config.data)), jnp.float32)
    key = stream_key(config.seed, Stream.NOISY_CLASSIFIER_INIT)
    return network.init(key, x, jnp.ones(1, jnp.float32))["params"]


def check_classifier_training(config: Any) -> None:
    """Check the config for settings that a classifier cannot be trained with, or that would have no effect.

    Raises:
      ConfigError: a setting of this kind.
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
                f"training.{name}={training[name]!r} applies only to score networks, not to training.task='classifier'; set "
                f"training.{name}={value!r}"
            )
    if training.weighting not in CLASSIFIER_WEIGHTINGS:
        raise ConfigError(
            f"training.weighting={training.weighting!r} applies only to score networks, not to training.task='classifier'; choose one of "
            f"{', '.join(CLASSIFIER_WEIGHTINGS)}: over uniform times, or over the log-normal ones of EDM"
        )
    if config.data.label >= 0:
        raise ConfigError(
            f"training.task='classifier' needs several classes, but data.label={config.data.label} selects only one; unset data.label"
        )


def build_classifier_task(config: Any, sde: SDE | None = None) -> ClassifierTask:
    """Build the task that config describes, without evaluators.

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
    """Raise UserError if the data has a class label beyond the network's number of classes."""
    most = max(int(labels_of(split).max()) for split in (datasets.train, datasets.test))
    if most >= config.noisy_classifier.num_classes:
        raise UserError(
            f"{config.data.name!r} has images of class {most}, but noisy_classifier.num_classes={config.noisy_classifier.num_classes}; "
            f"set it to {most + 1}"
        )


def held_out_accuracy(
    config: Any, objective: Objective, datasets: Datasets, devices: Devices
) -> Evaluator:
    """Build the evaluator of the accuracy on the test split: over all times, weighted as in the loss, and at the lowest noise level."""
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
    # A share of the weights, not of the images: the mean weight of a small split may be far from 1.
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
