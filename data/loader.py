"""Loading the dataset named by config.data and checking it against the config: load(config)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from score_sde.data.arrays import load_arrays
from score_sde.data.builders import DatasetError, prepared_builder, unreadable
from score_sde.data.captions import WORDS, load_captions
from score_sde.data.classes import check_known, numbered
from score_sde.data.conditions import CONDITIONS
from score_sde.data.folder import load_folder
from score_sde.data.held_out import HELD_OUT_PERCENT, own_test_split
from score_sde.data.huggingface import load_huggingface
from score_sde.data.idx import load_idx
from score_sde.data.image_shape import check_drawn, check_shape, image_shape
from score_sde.data.mixture import load_mixture
from score_sde.data.options import DataOptions
from score_sde.data.resizing import record_decoder
from score_sde.data.shapes import load_shapes
from score_sde.data.splits import Contents, Datasets, ImagesOnDisk, Split
from score_sde.machine import check_memory
from score_sde.options import choose

# `in_memory="auto"` keeps a dataset in memory up to this size, both splits and their conditions together: CIFAR-10
# (184 MB), SVHN and MNIST, but not CelebA at 64x64 (2.4 GB). This fits beside a model on any GPU, and training
# images are then never copied from the host.
IN_MEMORY_BYTES = 1 << 30

# Number of images of each split read as a check before training; about a second at 1024 pixels per side.
FIRST_IMAGES = 16

# Loaders, given config.data, of the datasets that are not TFDS builders; all other names are looked up in TFDS.
LOADERS: dict[str, Callable[[Any], Datasets]] = {
    "folder": load_folder,
    "arrays": load_arrays,
    "huggingface": load_huggingface,
    "idx": load_idx,
    "mixture": load_mixture,
    "shapes": load_shapes,
    "captions": load_captions,
}
# Fields of config.data that give the location of the images, and the datasets that read each.
PLACES = {"folder": ("folder", "huggingface", "idx"), "file": ("arrays",)}


def load(
    config: Any, conditions: Sequence[str] = (), whole: bool = False, classes: Sequence[str] = ()
) -> Datasets:
    """The train and test split of config.data.name.

    Splits held in memory are filled lazily, as images are requested. The first images of both splits are read immediately,
    and every image is checked when it is read.

    Args:
        config: with config.data (data/options.py) and config.model.num_classes, the largest number of classes that is
            allowed when labels are requested; 0 for no limit.
        conditions: what to read in addition to the images, names of CONDITIONS; computed from images of data.num_levels.
        whole: read splits held in memory completely now, so that an unusable image raises before training.
        classes: class names in the order of the network's labels (classes.py); empty: the dataset's own order. Other
            classes are refused only if labels are read.

    Raises:
        DatasetError: the dataset is unavailable or does not match the config.
        ConfigError: an option is out of range.
    """
    data = config.data
    DataOptions.check_options(data, "data")
    check_places(data)
    check_drawn(data)
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
    """Refuse a location of images that data.name does not read."""
    for field, names in PLACES.items():
        if data[field] and data.name not in names:
            raise DatasetError(
                f"data.{field}={data[field]} is read only with data.name={' or '.join(map(repr, names))}, but data.name={data.name!r}; add "
                f"--config.data.name={names[0]}, or leave out data.{field}"
            )


def labels_of(split: Split, count: int = 0) -> np.ndarray:
    """The labels of the first `count` images, or of all for 0, int32 (n,). No image is decoded, or even read if labels are stored separately.

    Raises:
        DatasetError: an image without a label.
    """
    readers = {"label": CONDITIONS["label"]}
    if 0 < count < split.num_images:
        split = split.subset(np.arange(count))
    return split.without_images().with_conditions(readers).condition["label"]


def of_class(datasets: Datasets, label: int) -> Datasets:
    """Restrict both splits to the images of one class.

    Raises:
        DatasetError: the dataset has no labels, or no images with this one.
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
    """Refuse a dataset without labels, or with more classes than the model's `num_classes` (0: any number)."""
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
    """Refuse a network whose vocabulary is not that of the captions."""
    if tuple(words.split()) != WORDS:
        raise DatasetError(
            f"model.words={words!r} with data.name='captions', whose words are {' '.join(WORDS)}: set model.words to exactly these, in this order"
        )


def check_paired(datasets: Datasets, config: Any) -> None:
    """Refuse paired images whose size is not that of the images, or whose channels the network does not accept."""
    expected = (*image_shape(config.data)[:2], config.model.condition_channels)
    for name, split in (("training", datasets.train), ("test", datasets.test)):
        found = split.take(range(1)).condition["paired"].shape[1:]
        if found != expected:
            raise DatasetError(
                f"{datasets.name!r} has paired {name} images of shape {found}, but data.image_size and model.condition_channels expect "
                f"{expected}; set these to match the images"
            )


def load_tfds(data: Any) -> Datasets:
    """Load a dataset prepared by TFDS, with one of our builders or one of TFDS."""
    import tensorflow_datasets as tfds

    builder = prepared_builder(data.name, data.data_dir)
    key = image_key(builder)
    stored_shape = tuple(builder.info.features[key].shape)
    shape = image_shape(data)
    check_shape(data.name, stored_shape, data)
    num_levels = getattr(builder, "NUM_LEVELS", data.stored_levels)
    decode = record_decoder(data, lambda record: record[key], num_levels=num_levels)
    # Left encoded, for record_decoder.
    decoders = {key: tfds.decode.SkipDecoding()}

    def open_split(split: str) -> ImagesOnDisk:
        try:
            source = builder.as_data_source(split=split, decoders=decoders)
        except Exception as error:
            raise DatasetError(unreadable(builder.data_dir, error)) from error
        return ImagesOnDisk(source, decode, shape, builder.data_dir)

    def first_label(split: str) -> Any:
        return open_split(split).records(range(1))[0].get("label", 0)

    used = split_names(builder, first_label)
    train, test = map(open_split, used)
    # Only TFDS's ClassLabel has names; a plain integer label is not a class.
    label = dict(builder.info.features).get("label")
    names = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else None
    # Nothing else about the prepared files is the same on every machine.
    sizes = [
        (f"{builder.info.full_name}/{name}", split.num_examples)
        for name, split in builder.info.splits.items()
    ]
    contents = contents_of(builder, used)
    return Datasets(data.name, train, test, num_levels, names, lambda: sizes, lambda: contents)


def contents_of(builder: Any, names: Sequence[str]) -> Contents:
    """The splits of a TFDS dataset with their sizes, used, which are those with these `names`, and unused."""
    used = {name.partition("[")[0] for name in names}
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    read, ignored = (
        {f"records of {name}": n for name, n in counts.items() if (name in used) == read}
        for read in (True, False)
    )
    return Contents(read, ignored)


def image_key(builder: Any) -> str:
    """Name of the image feature of a TFDS dataset; DatasetError if there is no 8-bit image."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    if isinstance(features, tfds.features.FeaturesDict):
        keys = [
            key for key, feature in features.items() if isinstance(feature, tfds.features.Image)
        ]
        if keys and features[keys[0]].np_dtype == np.uint8:
            return "image" if "image" in keys else keys[0]
    raise DatasetError(f"{builder.name!r} has no feature that is an 8-bit image: {features}")


def reduced(datasets: Datasets, num_levels: int | None) -> Datasets:
    """Reduce the levels per channel: v -> floor(v num_levels / L) for L stored levels; for powers of two, the highest bits.

    This turns 8-bit images into the 5-bit ones on which models of CelebA-HQ and ImageNet are compared (Kingma and
    Dhariwal 2018, Glow, Sec. 6).

    Raises:
        DatasetError: the number does not divide the dataset's: cells would have different widths, and bits/dim
            would be silently wrong.
    """
    stored = datasets.num_levels
    if stored == num_levels:
        return datasets
    if stored is None or num_levels is None or num_levels < 2 or stored % num_levels:
        cure = (
            ""
            if stored is None
            else f"; give {stored}, or a divisor of it that is at least 2, to which the images are then reduced (if the files themselves hold "
            "fewer levels, set data.stored_levels)"
        )
        raise DatasetError(
            f"{datasets.name!r} has {levels_in_words(stored)}, but data.num_levels={num_levels}{cure}"
        )
    factor = stored // num_levels
    fewer = datasets.each(lambda split: split.mapped(lambda images: images // factor))
    return dataclasses.replace(fewer, num_levels=num_levels)


def with_levels_checked(datasets: Datasets) -> Datasets:
    """Add a check to both splits that raises DatasetError when an image with levels out of range is read."""
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
    """Read the first images (or `whole` splits in memory); refuse a reduction of levels that leaves all of them black."""
    expected = datasets.num_levels
    if expected is None or stored is None:
        return
    for split in (datasets.train, datasets.test):
        # On disk only the first are read, since reading all would take minutes; in memory all, if asked for or if the first are black.
        images = split.take(range(min(FIRST_IMAGES, split.num_images))).images
        if (whole or (expected < stored and not images.any())) and split.images is not None:
            images = split.images
        if expected < stored and not images.any():
            raise DatasetError(
                f"{datasets.name!r} has no pixel of level {stored // expected} of {stored} or more, so with data.num_levels={expected} all "
                f"images would be black; if its files hold levels 0 to {expected - 1}, set data.stored_levels={expected}"
            )


def levels_in_words(num_levels: int | None) -> str:
    """Describe the number of levels, for a message."""
    return (
        "real values (data.num_levels=None)" if num_levels is None else f"{num_levels} grey levels"
    )


def split_names(builder: Any, first_label: Callable[[str], Any]) -> tuple[str, str]:
    """TFDS names of the training and the test split; `first_label` is that of `own_test_split`."""
    splits = builder.info.splits
    if "train" not in splits:
        raise DatasetError(f"{builder.name!r} has no split 'train', only {', '.join(splits)}")
    if test := own_test_split(builder.name, splits, first_label):
        return "train", test
    cut = 100 - HELD_OUT_PERCENT  # TFDS has already shuffled the records
    return f"train[:{cut}%]", f"train[{cut}%:]"


def placed(datasets: Datasets, in_memory: str) -> Datasets:
    """The dataset, held in memory if `in_memory` says so; UserError if it cannot fit."""
    num_bytes = datasets.train.num_bytes + datasets.test.num_bytes
    if not keep_in_memory(in_memory, num_bytes):
        return datasets
    what = f"data.in_memory={in_memory} for the images of {datasets.name!r} (set data.in_memory=no to read them from disk)"
    check_memory(what, num_bytes, 0)
    return datasets.each(lambda split: split.kept())


def keep_in_memory(in_memory: str, num_bytes: int) -> bool:
    """Whether a dataset of `num_bytes` is held in memory, given data.in_memory."""
    choices = {
        "auto": num_bytes <= IN_MEMORY_BYTES,
        "yes": True,
        "no": False,
    }
    return choose("data.in_memory", in_memory, choices)
