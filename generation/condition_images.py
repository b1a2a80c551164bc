"""The condition images of samples: made from images of a split, a file or a folder, or drawn first by a smaller network."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from score_sde import data
from score_sde.data.arrays import as_condition, as_paired
from score_sde.data.builders import DatasetError
from score_sde.data.conditions import CONDITIONS
from score_sde.data.image_shape import image_shape
from score_sde.data.numpy_files import in_words, read_arrays
from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path
from score_sde.generation.cascade import base_config, cascaded
from score_sde.keys import Stream, stream_key
from score_sde.measurements.condition_image import ConditionImage, build_condition_image
from score_sde.models.networks import conditions_of, has_condition_image
from score_sde.quality.image_sets import SPLITS, known_by, of_file, of_folder
from score_sde.training.checkpoints import checkpoint_folder
from score_sde.unfinished import newest_file

AddTo = Callable[[np.ndarray, Any], Any]
"""Indices (b,) of samples, and their condition so far -> their extended condition."""


class ImageSource(NamedTuple):
    """Functions that add to the condition of samples."""

    with_image: AddTo
    rest: AddTo
    """Adds what accompanies the images, such as their classes, without making any image."""
    number: Callable[[], int]
    """Returns the number of different images, which samples take in turn; 0 if each has its own."""


class Given(NamedTuple):
    """The images from which condition images are made."""

    num_images: int
    at: Callable[[np.ndarray], tuple[np.ndarray, dict[str, np.ndarray]]]
    """Returns the images in these rows, and what accompanies them."""
    beside: Callable[[np.ndarray], dict[str, np.ndarray]] = lambda rows: {}
    """Returns the classes and texts that accompany these rows, without any image."""


def build_sample_image(config: Any, classes: Sequence[str] = ()) -> ImageSource | None:
    """The source of the condition images that config.condition names; None for a network that takes none.

    `classes`: their names, in the network's numbering.

    Raises:
      ConfigError: no such file or folder, or a smaller network that does not draw what the network is conditioned on.
    """
    options = config.condition
    maker = build_condition_image(config)
    if maker is None:
        if options.cascade:
            raise ConfigError(
                f"condition.cascade={options.cascade!r} with a network that is not conditioned on images: train one with "
                "model.condition_image=measured, or remove it"
            )
        return None
    if options.cascade:
        with_image = cascaded(config, base_config(config, maker, classes), maker)
        return ImageSource(with_image, lambda indices, condition: condition, lambda: 0)
    check_images(config)
    return of_images(config, maker, classes)


def of_images(config: Any, maker: ConditionImage, classes: Sequence[str]) -> ImageSource:
    """Condition images made from those of a split, a file or a folder; their noise is determined by the row.

    Images of a split come with their classes and texts, unless sampling.labels or sampling.text names others.
    """
    given = functools.cache(lambda: given_images(config, classes))
    tell = jax.jit(maker.in_use)
    key = stream_key(config.seed, Stream.OBSERVATION)

    def with_image(indices: np.ndarray, condition: Any) -> Any:
        rows = indices % given().num_images
        images, beside = given().at(rows)
        return jax.device_get(tell(images, {**dict(condition), **beside}, key, rows))

    def rest(indices: np.ndarray, condition: Any) -> Any:
        rows, places = np.unique(indices % given().num_images, return_inverse=True)
        beside = given().beside(rows)
        return {**dict(condition), **{name: of[places] for name, of in beside.items()}}

    return ImageSource(with_image, rest, lambda: given().num_images)


def check_images(config: Any) -> None:
    """Refuse a missing file or folder, and a folder where pairs are required."""
    name = config.condition.images
    if name in SPLITS:
        return
    path = user_path(name)
    paired = config.model.condition_image == "paired"
    if not name or not (path.is_file() or (path.is_dir() and not paired)):
        what = (
            "an .npz file with `paired`, the condition images"
            if paired
            else "an .npz file with `images` (levels, as --mode sample writes them), or a folder of pictures"
        )
        raise ConfigError(
            f"condition.images={name!r}: no such file or folder; give train, test, {what}"
        )


def own_conditions(config: Any) -> tuple[str, ...]:
    """Names of the conditions read with each image of a split, except classes and texts set by sampling.labels and sampling.text."""
    named = {"label": config.sampling.labels, "text": config.sampling.text}
    return tuple(name for name in conditions_of(config) if not named.get(name))


def given_images(config: Any, classes: Sequence[str] = ()) -> Given:
    """The images that config.condition.images names; only those requested are in memory, except for pairs in a file.

    Raises:
      UserError: a file that cannot be read, or images that do not match the network's.
    """
    name, number, field = config.condition.images, config.sampling.num_images, "condition.images"
    if name in SPLITS:
        names = own_conditions(config)
        split = getattr(data.load(config, names, classes=classes), name)
        readers = {of: CONDITIONS[of] for of in names if of != "paired"}

        def of_split(rows: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
            batch = split.take(rows)
            return batch.images, dict(batch.condition)

        def beside(rows: np.ndarray) -> dict[str, np.ndarray]:
            return dict(split.subset(rows).with_conditions(readers).condition)

        return Given(min(number, split.num_images), of_split, beside)
    if config.model.condition_image == "paired":
        paired = read_paired(config, f"{field}={name!r}", user_path(name))[:number]
        return Given(len(paired), lambda rows: (paired[rows], {"paired": paired[rows]}))
    path = user_path(name)
    if path.is_dir():
        images = of_folder(config, f"{field}={name!r}", path, None)
    else:
        images = of_file(config, field, name)
    return Given(min(number, images.num_images), lambda rows: (images.take(rows), {}))


def read_paired(config: Any, what: str, path: Path) -> np.ndarray:
    """The array `paired` of a file, in memory: 8-bit shades, or real numbers, as data.name=arrays takes them.

    Raises:
      UserError: no such array, or one of another shape or type.
    """
    try:
        file = read_arrays(path, ("paired",))
    except DatasetError as error:
        raise UserError(f"{what} cannot be read as an .npz file: {error}") from error
    if "paired" not in file.arrays:
        raise UserError(f"{what} has {in_words(file.others)}, expected `paired`")
    found = file.arrays["paired"]
    expected = (*image_shape(config.data)[:2], config.model.condition_channels)
    if found.shape[1:] != expected or not len(found):
        raise UserError(
            f"{what}: paired has the shape {found.shape}, expected (n, {', '.join(map(str, expected))})"
        )
    return as_condition(as_paired(path, "paired", found))


def ages_of_condition_images(config: Any, classes: Sequence[str] = ()) -> dict[str, Any]:
    """What identifies the condition images, for results that depend on them; empty for a network that takes none."""
    options = config.condition
    if not has_condition_image(config):
        return {}
    if options.cascade:
        return {"cascade": newest_file(checkpoint_folder(user_path(options.cascade)))}
    return {"condition_images": known_by(config, options.images, own_conditions(config), classes)}
