"""What is known about an image beside its pixels, by name: `load(config, conditions=("label",))` asks for it."""

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
    """The class, int32 (); -1 in the record, as TFDS writes, where it is not known."""
    value = record.get("label", -1)
    if value < 0:
        raise DatasetError(
            f"{record.get('path', 'an image of the dataset')} has no label; give a dataset that has labels (in a folder: every image in a "
            "sub-folder named after its class), or ask for none (data.label=-1 and a model without classes)"
        )
    return np.asarray(value, np.int32)


def paired(record: Record, image: Image) -> np.ndarray:
    """The image that the dataset has beside this one, (h, w, c): uint8 shades, or real numbers in the units of the model's images."""
    if "paired" not in record:
        raise DatasetError(
            "the dataset has no other image beside each (model.condition_image='paired'): give data.name=arrays a file with `paired`, "
            "shapes, or condition the network on what is measured of the image itself, model.condition_image=measured"
        )
    return np.asarray(record["paired"])


def text(record: Record, image: Image) -> np.ndarray:
    """The words of what is said of the image, int32 (l,), as data/text.py numbers them."""
    if "text" not in record:
        raise DatasetError(
            "the dataset has no text of each image (model.words); take data.name='captions', or a network of no words, model.words=''"
        )
    return np.asarray(record["text"], np.int32)


# name -> reader(record, image): what it gives for one image, an array of one shape for all. `image()` decodes (h, w, c),
# so that a reader that does not call it costs no decoding. The record is TFDS's, {"path", "label"} for a file, and the
# row of `condition` for arrays in memory.
CONDITIONS: dict[str, Reader] = {"label": label, "paired": paired, "text": text}


def read(
    readers: Mapping[str, Reader], records: Iterable[Record], images: Iterable[Image]
) -> Condition:
    """The conditions of some images, stacked."""
    pairs = list(zip(records, images, strict=True))
    return {
        name: np.stack([reader(*pair) for pair in pairs]) for name, reader in readers.items()
    } or ()
