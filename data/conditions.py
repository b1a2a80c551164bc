"""Conditions: what is known about an image besides its pixels, by name, as in `load(config, conditions=("label",))`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from score_sde.data.batch import Condition
from score_sde.data.builders import DatasetError

Record = Mapping[str, Any]
Image = Callable[[], np.ndarray]
Reader = Callable[[Record, Image], np.ndarray]


def label(record: Record, image: Image) -> np.ndarray:
    """The class label, int32 (); DatasetError if it is no integer, missing or -1, which is TFDS's value for an unknown label."""
    value = record.get("label", -1)
    if not isinstance(value, (int, np.integer)):  # some datasets of TFDS have a text or a list here
        raise DatasetError(
            f"{named(record)} has the label {repr(value)[:80]}, but a class is an integer; use none (data.label=-1 and a model without "
            "classes), or give a dataset with one class for each image"
        )
    if value < 0:
        raise DatasetError(
            f"{named(record)} has no label; give a dataset that has labels (in a folder: every image in a "
            "sub-folder named after its class), or use none (data.label=-1 and a model without classes)"
        )
    return np.asarray(value, np.int32)


def named(record: Record) -> str:
    """What an error calls a record's image: its path, if the dataset has one."""
    return str(record.get("path", "an image of the dataset"))


def paired(record: Record, image: Image) -> np.ndarray:
    """The condition image that the dataset pairs with this one, (h, w, c): uint8, or real numbers in the units of the model's images."""
    if "paired" not in record:
        raise DatasetError(
            "the dataset has no paired images (model.condition_image='paired'): use data.name=arrays with a file that has `paired`, or "
            "data.name=shapes, or condition the network on a measurement of the image itself, model.condition_image=measured"
        )
    pair = record["paired"]
    return np.asarray(pair() if callable(pair) else pair)


def text(record: Record, image: Image) -> np.ndarray:
    """The words of the image's caption, int32 (l,), numbered as in data/text.py."""
    if "text" not in record:
        raise DatasetError(
            "the dataset has no captions, which model.words requires; use data.name='captions', or a network without text, model.words=''"
        )
    return np.asarray(record["text"], np.int32)


# name -> reader(record, image), which returns the condition of one image, an array of the same shape for all images.
# `image()` returns the decoded (h, w, c), so that readers that do not call it cost no decoding. The record is that of TFDS,
# {"path", "label"} for a file, with "paired", a function, for a row that has one, and the image's row of `condition` for arrays in memory.
CONDITIONS: dict[str, Reader] = {"label": label, "paired": paired, "text": text}


def read(
    readers: Mapping[str, Reader], records: Iterable[Record], images: Iterable[Image]
) -> Condition:
    """The conditions of some images, stacked."""
    pairs = list(zip(records, images, strict=True))
    return {
        name: np.stack([reader(*pair) for pair in pairs]) for name, reader in readers.items()
    } or ()
