"""The condition of each sample by its index, as set in `config.sampling`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from score_sde.data.captions import CAPTIONS, WORDS
from score_sde.data.classes import listed
from score_sde.data.text import numbers
from score_sde.errors import ConfigError, UserError
from score_sde.generation.condition_images import build_sample_image
from score_sde.generation.guides import classes_in_turn, sampled_classes
from score_sde.generation.start_conditions import start_conditions
from score_sde.models.networks import condition_names
from score_sde.options import choose

Source = Callable[[np.ndarray], Any]
"""Indices (b,) -> the condition of the samples with these indices."""


def labels_in_turn(config: Any, classes: Sequence[str] = ()) -> Callable[[np.ndarray], np.ndarray]:
    """Labels by index: those of sampling.labels in turn, repeated; all classes, or all that have names, if none is given."""
    num_classes, labels = classes_in_turn(config, classes), tuple(config.sampling.labels)
    if labels and num_classes <= max(labels) < sampled_classes(config):
        raise ConfigError(
            f"sampling.labels={labels}: the network was trained with images of the classes 0 to {num_classes - 1} alone ({listed(classes)}), "
            f"though model.num_classes={config.model.num_classes}; give these, or () for all of them in turn"
        )
    if any(not 0 <= label < num_classes for label in labels):
        raise ConfigError(
            f"sampling.labels={labels}: expected classes from 0 to {num_classes - 1} (model.num_classes={num_classes}, or that of the "
            "guiding classifier), "
            "or () for all in turn"
        )
    return in_turn(np.asarray(labels or range(num_classes), np.int32))


def texts_in_turn(config: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Texts by index: those of sampling.text in turn, repeated; all captions of the data if it is empty."""
    vocabulary, given = config.model.words.split(), config.sampling.text
    if not given and set(WORDS) - set(vocabulary):
        raise ConfigError(
            f"sampling.text='' means the captions of data.name='captions', of the words {' '.join(WORDS)}, but the network has "
            f"model.words={config.model.words!r}: give texts of these words, or set model.words"
        )
    return in_turn(numbers(given.split(",") if given else CAPTIONS, vocabulary, "sampling.text"))


def in_turn(turn: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function from indices to the rows of `turn`, repeated cyclically."""
    return lambda indices: turn[indices % len(turn)]


# The parts of a condition, named as in `condition_names`, except images (condition_images.py).
SOURCES: dict[str, Callable[[Any], Callable[[np.ndarray], np.ndarray]]] = {
    "label": labels_in_turn,
    "text": texts_in_turn,
}


def build_conditions(config: Any, classes: Sequence[str] = ()) -> Source:
    """The conditions of samples of the config's model; `()` for an unconditional one.

    `classes`: their names, in the model's numbering; empty: numbered as in the data.

    Raises:
      ConfigError: labels that the model does not have, or condition images that are missing.
    """
    of, image = labels_and_texts(config, classes), build_sample_image(config, classes)
    return of if image is None else lambda indices: image.with_image(indices, of(indices))


def check_labels_and_texts(config: Any) -> None:
    """Refuse labels and texts that the model does not have, whatever its condition images are.

    Raises:
      ConfigError: what was given, and what to do.
    """
    labels_and_texts(config, ())


def build_labels_and_texts(config: Any, classes: Sequence[str] = ()) -> Source:
    """`build_conditions` without the images: none is made or read."""
    of, image = labels_and_texts(config, classes), build_sample_image(config, classes)
    return of if image is None else lambda indices: image.rest(indices, of(indices))


def different_images(config: Any, classes: Sequence[str] = ()) -> int:
    """The number of different images on which samples are conditioned in turn; 0 if on none, or each on its own."""
    image = build_sample_image(config, classes)
    return 0 if image is None else image.number()


def labels_of_samples(config: Any, classes: Sequence[str] = ()) -> np.ndarray:
    """The classes (n,) on which the samples are conditioned, in the numbering of `classes`.

    Raises:
      UserError: the samples are not conditioned on classes.
    """
    indices = np.arange(config.sampling.num_images)
    conditions = dict(build_labels_and_texts(config, classes)(indices))
    if "label" not in conditions:
        raise UserError("samples of a model that is not conditioned on classes have no labels")
    return np.asarray(conditions["label"])


def labels_and_texts(config: Any, classes: Sequence[str]) -> Source:
    """The source of labels and texts alone: those of start images of a split, or in turn."""
    names = condition_names(config)
    if sampled_classes(config) and "label" not in names:
        names = ("label", *names)
    if config.sampling.labels and "label" not in names:
        raise ConfigError(
            f"sampling.labels={tuple(config.sampling.labels)} with a model that is not conditioned on classes: remove it, train a "
            "network with model.num_classes, or guide with a classifier"
        )
    if config.sampling.text and "text" not in names:
        raise ConfigError(
            f"sampling.text={config.sampling.text!r} with a model that is not conditioned on texts: remove it, or train a network with model.words"
        )
    own = start_conditions(config, classes)
    known = {**SOURCES, "label": functools.partial(labels_in_turn, classes=classes)}
    sources = {
        name: own.get(name) or choose("a condition of samples", name, known)(config)
        for name in names
        if name != "image"
    }

    def conditions(indices: np.ndarray) -> Any:
        return {name: of(indices) for name, of in sources.items()} or ()

    return conditions
