"""Class labels as a network was trained with them, for datasets that would number their classes differently."""

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
    """Relabel the dataset: each class gets the index of its name in `classes`, and unknown classes follow after these.

    The labels of a folder are positions among the folders present: if one is missing, all later ones would get their
    neighbour's label. The dataset is unchanged if `classes` is empty or its own classes have no names.
    """
    names = datasets.class_names
    if not classes or names is None or names == tuple(classes):
        return datasets
    every = together(classes, names)
    split = functools.partial(renumbered, names=names, every=every)
    return dataclasses.replace(datasets.each(split), class_names=every)


def together(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """These names, followed by those of the others that are not among them."""
    return (*names, *(name for name in others if name not in names))


def renumbered(split: ImagesOnDisk, names: Sequence[str], every: Sequence[str]) -> ImagesOnDisk:
    """Relabel a split whose classes have these names: each gets the index of its name in `every`."""
    numbers = {i: every.index(name) for i, name in enumerate(names)}
    return dataclasses.replace(split, source=Renumbered(split.source, numbers))


def check_known(datasets: Datasets, classes: Sequence[str]) -> None:
    """Refuse classes that the network does not know; any are allowed if `classes` is empty.

    Raises:
        DatasetError: the dataset has classes that are not in `classes`.
    """
    if unknown := [name for name in datasets.class_names or () if classes and name not in classes]:
        raise DatasetError(
            f"{datasets.name!r} has images of classes that the network was not trained with: {listed(unknown)}; it knows {listed(classes)}. "
            "Name each class as one of these, leave the others out, or take another network"
        )


class Renumbered:
    """A source of records for `ImagesOnDisk` with other labels; -1, for no class, is kept."""

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
    """List the first SHOWN names, for a message."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" * (len(names) > SHOWN))
