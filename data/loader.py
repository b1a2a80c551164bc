"""load(config): the dataset that config.data names, checked against the config."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from score_sde.data.arrays import load_arrays
from score_sde.data.builders import DatasetError, prepared_builder, unreadable
from score_sde.data.captions import WORDS, load_captions
from score_sde.data.classes import check_known, numbered
from score_sde.data.conditions import CONDITIONS, Record
from score_sde.data.folder import load_folder
from score_sde.data.held_out import HELD_OUT_PERCENT
from score_sde.data.huggingface import load_huggingface
from score_sde.data.idx import load_idx
from score_sde.data.image_shape import check_shape, image_shape
from score_sde.data.mixture import load_mixture
from score_sde.data.options import DataOptions
from score_sde.data.resizing import image_decoder
from score_sde.data.shapes import load_shapes
from score_sde.data.splits import Contents, Datasets, ImagesOnDisk, Split
from score_sde.options import choose

# `in_memory="auto"` keeps a dataset in memory up to this many bytes for both splits together, conditions and all: CIFAR-10
# (184 MB), SVHN and MNIST yes, CelebA at 64x64 (2.4 GB) no. It fits beside a model on any GPU, and a training
# image is then never copied from the host.
IN_MEMORY_BYTES = 1 << 30

# So many of each split are read as a check before training: of 1024 pixels a side, in about a second.
FIRST_IMAGES = 16

# Datasets that no builder prepares, from config.data; all other names are TFDS's.
LOADERS: dict[str, Callable[[Any], Datasets]] = {
    "folder": load_folder,
    "arrays": load_arrays,
    "huggingface": load_huggingface,
    "idx": load_idx,
    "mixture": load_mixture,
    "shapes": load_shapes,
    "captions": load_captions,
}
# Fields of config.data that say where images are, with the datasets that look there.
PLACES = {"folder": ("folder", "huggingface", "idx"), "file": ("arrays",)}


def load(
    config: Any, conditions: Sequence[str] = (), whole: bool = False, classes: Sequence[str] = ()
) -> Datasets:
    """The train and test split of config.data.name.

    A split held in memory is read into it as far as it is asked for. The first images of either are read at once, and
    every image is checked when it is.

    Args:
        config: with config.data (data/options.py), and config.model.num_classes: at most so many labels may be asked
            for; 0 for no limit.
        conditions: what to read beside the images, names of CONDITIONS. They are made from images of data.num_levels.
        whole: read all that is held in memory at once, so that an image that cannot be used is an error before training.
        classes: names of the classes in the order of the numbers that the network knows them by (classes.py); none: the
            dataset's own order. Others are refused only where labels are read.

    Raises:
        DatasetError: the dataset cannot be had, or does not agree with the config.
        ConfigError: an option out of its range.
    """
    data = config.data
    DataOptions.check_options(data, "data")
    check_places(data)
    stored = numbered(LOADERS.get(data.name, load_tfds)(data), classes)
    label = data.label
    if "label" in conditions or label >= 0:
        check_known(stored, classes)
    datasets = with_levels_checked(reduced(stored, data.num_levels or None))
    if label >= 0:
        datasets = of_class(datasets, label)
    if "label" in conditions:
        check_labels(datasets, getattr(getattr(config, "model", None), "num_classes", 0))
    if "text" in conditions and data.name == "captions":
        check_words(config.model.words)
    readers = {name: CONDITIONS[name] for name in conditions}
    datasets = datasets.each(lambda split: split.with_conditions(readers))
    if "paired" in conditions:
        check_paired(datasets, config)
    datasets = placed(datasets, data.in_memory)
    check_first(datasets, stored.num_levels, whole)
    return datasets


def check_places(data: Any) -> None:
    """Refuse a place of images that this dataset is not read from."""
    for field, names in PLACES.items():
        if data[field] and data.name not in names:
            raise DatasetError(
                f"data.{field}={data[field]} is read with data.name={' or '.join(map(repr, names))} only, but "
                f"data.name={data.name!r}; add --config.data.name={names[0]}, or leave out data.{field}"
            )


def labels_of(split: Split) -> np.ndarray:
    """The classes of all images, int32 (n,), none of which is decoded, nor read where labels lie apart.

    Raises:
        DatasetError: an image without one.
    """
    readers = {"label": CONDITIONS["label"]}
    return split.without_images().with_conditions(readers).condition["label"]


def of_class(datasets: Datasets, label: int) -> Datasets:
    """The images of one class only.

    Raises:
        DatasetError: a dataset without labels, or without this one.
    """

    def chosen(split: Split) -> Split:
        labels = labels_of(split)
        if label not in labels:
            name = "training" if split is datasets.train else "test"
            known = ", ".join(map(str, np.unique(labels)))
            raise DatasetError(
                f"data.label={label}: {datasets.name!r} has no such {name} images, only of {known}"
            )
        return split.subset(np.flatnonzero(labels == label))

    return datasets.each(chosen)


def check_labels(datasets: Datasets, num_classes: int) -> None:
    """Refuse a dataset without labels, or with more of them than the model has (`num_classes`; 0: any number)."""
    if datasets.class_names is None:
        most = 1 + max(labels_of(split).max() for split in (datasets.train, datasets.test))
    else:
        most = len(datasets.class_names)  # without reading every record
    if 0 < num_classes < most:
        raise DatasetError(
            f"{datasets.name!r} has labels 0 to {most - 1}, but model.num_classes={num_classes} expects 0 to "
            f"{num_classes - 1}; set model.num_classes={most}"
        )


def check_words(words: str) -> None:
    """Refuse a network that would read the captions' numbers as other words."""
    if tuple(words.split()) != WORDS:
        raise DatasetError(
            f"model.words={words!r} with data.name='captions', whose words are {' '.join(WORDS)}: set model.words to these, in this order"
        )


def check_paired(datasets: Datasets, config: Any) -> None:
    """Refuse images beside a dataset's own of another size, or of other channels than the network takes."""
    expected = (*image_shape(config.data)[:2], config.model.condition_channels)
    for name, split in (("training", datasets.train), ("test", datasets.test)):
        found = split.take(range(1)).condition["paired"].shape[1:]
        if found != expected:
            raise DatasetError(
                f"{datasets.name!r} has {name} images of shape {found} beside its own, expected {expected} of data.image_size and "
                "model.condition_channels; set these to the images'"
            )


def load_tfds(data: Any) -> Datasets:
    """A dataset prepared by TFDS: one of our builders, or one of its own."""
    import tensorflow_datasets as tfds

    builder = prepared_builder(data.name, data.data_dir)
    key = image_key(builder)
    stored_shape = tuple(builder.info.features[key].shape)
    shape = image_shape(data)
    check_shape(data.name, stored_shape, data)
    decode_bytes = image_decoder(data)

    def decode(record: Record) -> np.ndarray:
        return decode_bytes(record[key])

    # Left encoded, for image_decoder.
    decoders = {key: tfds.decode.SkipDecoding()}

    def open_split(split: str) -> ImagesOnDisk:
        try:
            source = builder.as_data_source(split=split, decoders=decoders)
        except Exception as error:
            raise DatasetError(unreadable(builder.data_dir, error)) from error
        return ImagesOnDisk(source, decode, shape, builder.data_dir)

    train, test = (open_split(split) for split in split_names(builder))
    num_levels = getattr(builder, "NUM_LEVELS", data.stored_levels)
    # A number without names is not a class: TFDS's ClassLabel has both.
    names = getattr(dict(builder.info.features).get("label"), "names", None)
    # Of the prepared files nothing else is the same on every machine.
    sizes = [
        (f"{builder.info.full_name}/{name}", split.num_examples)
        for name, split in builder.info.splits.items()
    ]
    contents = contents_of(builder)
    return Datasets(
        data.name, train, test, num_levels, names and tuple(names), lambda: sizes, lambda: contents
    )


def contents_of(builder: Any) -> Contents:
    """TFDS's splits, those that are used and those that are not."""
    used = {name.partition("[")[0] for name in split_names(builder)}
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    read, ignored = (
        {f"records of {name}": n for name, n in counts.items() if (name in used) == read}
        for read in (True, False)
    )
    return Contents(read, ignored)


def image_key(builder: Any) -> str:
    """Name of the image among a dataset's features."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    if isinstance(features, tfds.features.FeaturesDict):
        keys = [
            key for key, feature in features.items() if isinstance(feature, tfds.features.Image)
        ]
        if keys and features[keys[0]].np_dtype == np.uint8:
            return "image" if "image" in keys else keys[0]
    raise DatasetError(f"{builder.name!r} has no 8-bit image among its features: {features}")


def reduced(datasets: Datasets, num_levels: int | None) -> Datasets:
    """The dataset with so many levels a channel: v -> floor(v num_levels / its own), the highest bits of a power of two.

    So 8-bit images become those of 5 bits on which models of CelebA-HQ and ImageNet are compared (Kingma and
    Dhariwal 2018, Glow, Sec. 6).

    Raises:
        DatasetError: a number that does not divide the dataset's: its cells would not be of one width, and bits/dim
            would be wrong with nothing else to show it.
    """
    stored = datasets.num_levels
    if stored == num_levels:
        return datasets
    if stored is None or num_levels is None or num_levels < 2 or stored % num_levels:
        cure = (
            ""
            if stored is None
            else f"; give {stored}, or a divisor of it from 2 on, to which the images are then reduced (if the files "
            "themselves hold fewer levels, say so in data.stored_levels)"
        )
        raise DatasetError(
            f"{datasets.name!r} has {levels_in_words(stored)}, but data.num_levels={num_levels}{cure}"
        )
    factor = stored // num_levels
    fewer = datasets.each(lambda split: split.mapped(lambda images: images // factor))
    return dataclasses.replace(fewer, num_levels=num_levels)


def with_levels_checked(datasets: Datasets) -> Datasets:
    """The dataset, whose images are refused when they are read if they do not have the levels they are said to have."""
    expected = datasets.num_levels
    if expected is None:
        return datasets

    def checked(images: np.ndarray) -> np.ndarray:
        if images.max() >= expected:
            raise DatasetError(
                f"{datasets.name!r} has a pixel of level {images.max()}, but data.num_levels={expected} "
                f"expects 0 to {expected - 1}"
            )
        return images

    return datasets.each(lambda split: split.mapped(checked))


def check_first(datasets: Datasets, stored: int | None, whole: bool) -> None:
    """Read the first images, or `whole` splits in memory; refuse levels of which none is left after their reduction."""
    expected = datasets.num_levels
    if expected is None or stored is None:
        return
    for split in (datasets.train, datasets.test):
        # On disk the first stand for all, since to read every one would take minutes; in memory only where they will do.
        images = split.take(range(min(FIRST_IMAGES, split.num_images))).images
        if (whole or (expected < stored and not images.any())) and split.images is not None:
            images = split.images
        if expected < stored and not images.any():
            raise DatasetError(
                f"{datasets.name!r} has no pixel of level {stored // expected} of {stored} or more, so with "
                f"data.num_levels={expected} all of it would be black; if its files hold levels 0 to {expected - 1}, "
                f"set data.stored_levels={expected}"
            )


def levels_in_words(num_levels: int | None) -> str:
    """How many levels pixels have, for a message."""
    return (
        "real values (data.num_levels=None)" if num_levels is None else f"{num_levels} grey levels"
    )


def split_names(builder: Any) -> tuple[str, str]:
    """TFDS names of what to train and what to test on."""
    splits = builder.info.splits
    if "train" not in splits:
        raise DatasetError(f"{builder.name!r} has no split 'train', only {', '.join(splits)}")
    for test in ("test", "validation"):
        if test in splits:
            return "train", test
    cut = 100 - HELD_OUT_PERCENT  # TFDS has already shuffled the records
    return f"train[:{cut}%]", f"train[{cut}%:]"


def placed(datasets: Datasets, in_memory: str) -> Datasets:
    """The dataset in memory if it is to be held there, else as it is."""
    num_bytes = datasets.train.num_bytes + datasets.test.num_bytes
    if not keep_in_memory(in_memory, num_bytes):
        return datasets
    return datasets.each(lambda split: split.kept())


def keep_in_memory(in_memory: str, num_bytes: int) -> bool:
    """Whether a dataset of so many bytes stays in memory, as data.in_memory says."""
    choices = {
        "auto": num_bytes <= IN_MEMORY_BYTES,
        "yes": True,
        "no": False,
    }
    return choose("data.in_memory", in_memory, choices)
