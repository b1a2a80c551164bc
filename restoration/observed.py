"""The measurements to restore from: made from images, or read from a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from score_sde import data
from score_sde.data.array_files import check_real
from score_sde.data.arrays import as_labels
from score_sde.data.builders import DatasetError
from score_sde.data.numpy_files import in_words, read_arrays
from score_sde.errors import ConfigError, UserError
from score_sde.files import user_path
from score_sde.generation.condition_images import own_conditions
from score_sde.generation.conditions import texts_in_turn
from score_sde.keys import ObservationKeys, Stream, image_keys, stream_key
from score_sde.measurements.measurement import Measurement
from score_sde.models.networks import conditions_of
from score_sde.quality.image_sets import (
    SPLITS,
    ImageSet,
    of_file,
    of_folder,
    of_split,
    say_if_of_few_folders,
)
from score_sde.restoration.methods import measured_field, measured_section
from score_sde.restoration.options import RestoreOptions
from score_sde.spaces import Space
from score_sde.training.same_data import check_same_arrays


class Observed(NamedTuple):
    """n measurements, with the images they come from where these are known."""

    y: np.ndarray
    """(n, *measured), in the units of the model's images."""
    labels: np.ndarray | None = None
    """Class labels (n,) on which the model is conditioned."""
    x: np.ndarray | None = None
    """The measured x_0 (n, h, w, c), dequantized and scaled as in training."""
    originals: np.ndarray | None = None
    """The measured images as stored; in files not called `images`, which options read as results."""
    texts: np.ndarray | None = None
    """Texts (n, l) on which the model is conditioned, as word indices."""

    def condition(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The condition of the model for these rows."""
        parts = {"label": self.labels, "text": self.texts}
        return {name: of[rows] for name, of in parts.items() if of is not None}


def check_observed(config: Any) -> None:
    """Refuse files that do not exist, images beside measurements, and images without the texts that the network needs."""
    options = config.restore
    if options.measured:
        if options.images != RestoreOptions.defaults()["images"]:
            raise ConfigError(
                f"restore.images={options.images!r} with restore.measured={options.measured!r}: measurements are read in place of images, so "
                "the images would be ignored; leave out one of the two"
            )
        if not user_path(options.measured).is_file():
            raise ConfigError(
                f"restore.measured={options.measured!r}: no such file; give an .npz file with `y`, measurements (n, ...)"
            )
    elif options.images not in SPLITS and not (
        options.images and user_path(options.images).exists()
    ):
        raise ConfigError(
            f"restore.images={options.images!r}: no such file or folder; give train, test, an .npz file with `images` (levels, as --mode "
            "sample writes them), or a folder of pictures"
        )
    if "text" in conditions_of(config) and not config.sampling.text and not of_a_split(config):
        raise ConfigError(
            f"restore.{'measured' if options.measured else 'images'} with a network of model.words: only images of train and test come with "
            "their texts; say by --config.sampling.text what these images show"
        )


def of_a_split(config: Any) -> bool:
    """Whether the images come from a split of the data."""
    return not config.restore.measured and config.restore.images in SPLITS


def observe(
    config: Any,
    space: Space,
    measurement: Measurement,
    of_middle: bool = False,
    classes: Sequence[str] = (),
) -> Observed:
    """Measure the images of config.restore, or read its measurements.

    The noise depends only on the seed and the index of an image, so all methods get the same measurements.

    Args:
      of_middle: measure the middle of the pixel levels instead of a dequantized image, as networks conditioned on a measurement are trained.

    Raises:
      UserError: fewer images than asked for, missing class labels, measurements of another shape, or hosts that read different ones.
    """
    if config.restore.measured:
        return as_measured(config, measurement)
    images = originals(config, classes)
    given = config.restore.images
    where = f"the {given} split" if given in SPLITS else f"restore.images={given!r}"
    count = number_of(config, where, images.num_images)
    say_if_of_few_folders(where, images, count)
    stored = images.take(range(count))
    labels = condition_labels(config, len(stored), images.labels)
    texts = condition_texts(config, len(stored))
    check_same_arrays(f"restore.images={config.restore.images!r}", (stored, labels, texts))

    @jax.jit
    def measure(key: Any, stored: Any, index: Any) -> tuple[Any, Any]:
        keys = image_keys(ObservationKeys, key, index)
        x = space.encode(stored, keys.dequantization)
        shape = measurement.linear.measured_shape
        noise = jax.vmap(lambda key: jax.random.normal(key, shape))(keys.noise)
        return x, measurement.draw(space.encode_middle(stored) if of_middle else x, noise)

    key = stream_key(config.seed, Stream.OBSERVATION)
    size = config.sampling.batch_size
    parts = [
        jax.device_get(measure(key, stored[i : i + size], np.arange(i, min(i + size, len(stored)))))
        for i in range(0, len(stored), size)
    ]
    x, y = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Observed(y, labels, x, stored, texts)


def originals(config: Any, classes: Sequence[str] = ()) -> ImageSet:
    """The images of config.restore.images; `classes` are the class names of the model, in the order of its labels."""
    given, field, conditions = config.restore.images, "restore.images", own_conditions(config)
    if given in SPLITS:
        return of_split(getattr(data.load(config, conditions, classes=classes), given))
    path, names = user_path(given), tuple(classes) or None
    if "label" in conditions and names is None:
        # Load the training set only where its class names are needed.
        names = data.load(config, conditions).class_names
    if path.is_dir():
        return of_folder(config, f"{field}={given!r}", path, names)
    return of_file(config, field, given, names)


def as_measured(config: Any, measurement: Measurement) -> Observed:
    """Read the measurements in the file config.restore.measured."""
    given = config.restore.measured
    what = f"restore.measured={given!r}"
    try:
        file = read_arrays(user_path(given), ("y", "labels"))
    except DatasetError as error:
        raise UserError(f"{what} cannot be read as an .npz file: {error}") from error
    if "y" not in file.arrays:
        raise UserError(
            f"{what} has {in_words(file.others)}, expected y, what was measured (n, ...)"
        )
    y, expected = file.arrays["y"], measurement.linear.measured_shape
    if y.shape[1:] != expected or not len(y):
        raise UserError(
            f"{what}: y has the shape {y.shape}, expected (n, {', '.join(map(str, expected))}) of {measured_field(config)}.name="
            f"{measured_section(config).name!r}"
        )
    check_real(f"{what}: y", y)

    def labels() -> np.ndarray:
        if "labels" not in file.arrays:
            raise UserError(f"{what} has no `labels`, one for each y")
        found = as_labels(user_path(given), "labels", file.arrays["labels"])
        if len(found) != len(y):
            raise UserError(f"{what} has {len(found)} labels for {len(y)} y; give one for each")
        return found

    count = number_of(config, "restore.measured", len(y))
    y = np.asarray(y[:count], np.float32)
    observed = Observed(
        y, condition_labels(config, count, labels), texts=condition_texts(config, count)
    )
    check_same_arrays(what, (y, observed.labels, observed.texts))
    return observed


def number_of(config: Any, where: str, there_are: int) -> int:
    """The number of images to restore; UserError if there are not enough."""
    wanted = config.restore.num_images
    if wanted > there_are:
        raise UserError(
            f"restore.num_images={wanted} of {where}, which has {there_are}; set --config.restore.num_images={there_are} or fewer"
        )
    return wanted


def condition_labels(config: Any, count: int, own: Any) -> np.ndarray | None:
    """Class labels for a conditional model: sampling.labels, repeated, or the images' own; None for others."""
    if "label" not in conditions_of(config):
        return None
    given = tuple(config.sampling.labels)
    if given:
        return np.resize(np.asarray(given, np.int32), count)
    try:
        labels = np.asarray(own())[:count]
    except UserError as error:
        raise UserError(
            f"{error}; or say by --config.sampling.labels of which class they are"
        ) from error
    if not ((labels >= 0) & (labels < config.model.num_classes)).all():
        raise UserError(
            f"the images to restore have labels from {labels.min()} to {labels.max()}, expected 0 to {config.model.num_classes - 1} of "
            "model.num_classes; say by --config.sampling.labels of which class they are"
        )
    return labels.astype(np.int32)


def condition_texts(config: Any, count: int) -> np.ndarray | None:
    """Texts for a text-conditional model: those of sampling.text, repeated, or the images' own; None for others."""
    if "text" not in conditions_of(config):
        return None
    if config.sampling.text:
        return texts_in_turn(config)(np.arange(count))
    split = getattr(data.load(config, ("text",)), config.restore.images)
    return np.asarray(split.take(range(count)).condition["text"])
