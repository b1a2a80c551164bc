"""Classes by the numbers that a network was trained with, where a dataset's own names would number them otherwise."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from score_sde.data.builders import DatasetError
from score_sde.data.sources import without_images
from score_sde.data.splits import Datasets, ImagesOnDisk

SHOWN = 10  # names in a message


def numbered(datasets: Datasets, classes: Sequence[str]) -> Datasets:
    """The dataset with each class numbered by the place of its name among `classes`; those that are not among them come after.

    A folder's own numbers are places among the folders that are there: where one is missing, all after it would take its
    neighbour's number. As it is without `classes`, and where the dataset's have no names.
    """
    names = datasets.class_names
    if not classes or names is None or names == tuple(classes):
        return datasets
    every = together(classes, names)
    split = functools.partial(renumbered, names=names, every=every)
    return dataclasses.replace(datasets.each(split), class_names=every)


def together(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """These names, and after them those of the others that are not among them."""
    return (*names, *(name for name in others if name not in names))


def renumbered(split: ImagesOnDisk, names: Sequence[str], every: Sequence[str]) -> ImagesOnDisk:
    """A split whose classes have these names, each numbered by the place of its name among `every`."""
    numbers = {i: every.index(name) for i, name in enumerate(names)}
    return dataclasses.replace(split, source=Renumbered(split.source, numbers))


def check_known(datasets: Datasets, classes: Sequence[str]) -> None:
    """Refuse images of classes that are not among these, where a network would be told them; all may be without `classes`.

    Raises:
        DatasetError: with their names.
    """
    if unknown := [name for name in datasets.class_names or () if classes and name not in classes]:
        raise DatasetError(
            f"{datasets.name!r} has images of classes that the network was not trained with: {listed(unknown)}; it knows {listed(classes)}. "
            "Name each class as one of these, leave the others out, or take another network"
        )


class Renumbered:
    """Records of a source with other labels, as `ImagesOnDisk` asks for them; -1, of no class, stays."""

    def __init__(self, source: Any, numbers: Mapping[int, int]):
        self.source, self.numbers = source, {**numbers, -1: -1}

    def __len__(self) -> int:
        return len(self.source)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        records = self.source.__getitems__(indices)
        return [{**record, "label": self.numbers[int(record["label"])]} for record in records]

    def without_images(self) -> Renumbered:
        return Renumbered(without_images(self.source), self.numbers)


def listed(names: Sequence[str]) -> str:
    """The first of the names, in a message."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" * (len(names) > SHOWN))
