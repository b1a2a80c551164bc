"""The reference that images are compared with: features of real images, or only their mean and covariance."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from score_sde import data
from score_sde.data.splits import Datasets
from score_sde.errors import UserError
from score_sde.features.extractors import Extractor, Features, build_extractor
from score_sde.files import user_path
from score_sde.generation.guides import classes_of_samples
from score_sde.quality.image_sets import (
    SPLITS,
    ImageSet,
    image_set,
    numbered_as,
    of_split,
    say_if_of_few_folders,
)
from score_sde.quality.statistics_files import (
    KeptFeatures,
    Law,
    features_of_split,
    read_statistics,
)
from score_sde.quality.strata import Strata, strata_of
from score_sde.training.same_data import check_same_data

OfSplit = Callable[[str, int], Features]
"""(train or test, number of images) -> features of the first images; of all for 0."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """The reference that images are compared with: features of real images, or only a Gaussian."""

    num_images: int
    """Number m of real images; 0 if only a Gaussian is known."""
    law: Law | None
    images: ImageSet | None
    """None if the features come from a file."""
    make: Callable[[], np.ndarray]
    labels: Callable[[], np.ndarray]
    """Returns the labels of the images (m,), in the data's numbers; UserError if they are unknown."""

    @functools.cached_property
    def features(self) -> np.ndarray:
        """Features (m, d), computed at first use: this can take long, and errors in the config should be raised before."""
        return self.make()

    @functools.cached_property
    def strata(self) -> Strata:
        """The labels if the images are known to be equally many of each class, else None."""
        try:
            return strata_of(self.labels())
        except UserError:
            return None


class Opened(NamedTuple):
    """Everything needed to evaluate images for a config."""

    extractor: Extractor
    splits: Datasets
    of_split: OfSplit
    """Returns the features of the first images of a split, computed at most once."""
    reference: Reference


def load_splits(config: Any, workdir: Path) -> Datasets:
    """Load the data, with classes numbered as those of samples of the network in the working directory."""
    return data.load(config, classes=classes_of_samples(config, workdir))


def open_reference(config: Any, workdir: Path, splits: Datasets | None = None) -> Opened:
    """Open what config.evaluation asks for; expensive features of splits are kept in <workdir>/evaluation.

    Without `splits`, the data are loaded by `load_splits`.

    Raises:
      UserError: features or a reference that cannot be read, or hosts that read different images.
    """
    splits = load_splits(config, workdir) if splits is None else splits
    check_same_data(splits)
    extractor = build_extractor(config, workdir)
    of_split = functools.cache(
        functools.partial(features_of_split, config, workdir, extractor, splits)
    )
    reference = load_reference(config, extractor, splits, of_split)
    return Opened(extractor, splits, of_split, reference)


def load_reference(
    config: Any, extractor: Extractor, splits: Datasets, of_split_kept: OfSplit
) -> Reference:
    """The reference config.evaluation.reference, restricted to the first num_reference images."""
    named, count = config.evaluation.reference, config.evaluation.num_reference
    if named in SPLITS:
        images = of_split(getattr(splits, named), count)
        features = functools.partial(of_split_kept, named, count)
        return of_images(images, lambda: features().of_images)
    path, what = user_path(named), f"evaluation.reference={named!r}"
    read = read_statistics(what, path, extractor) if path.is_file() else None
    if isinstance(read, Law):
        if count:
            raise UserError(
                f"{what} contains only a mean and a covariance, so evaluation.num_reference={count} has no effect; leave it out"
            )
        return Reference(0, read, None, no_features, functools.partial(no_labels, what))
    if read is not None:
        kept = read.of_images[: count or None]
        labels = functools.partial(labels_of_file, what, read, splits.class_names)
        return Reference(len(kept), None, None, lambda: kept, lambda: labels()[: len(kept)])
    whole = image_set(config, splits, "reference")
    say_if_of_few_folders(what, whole, count)
    images = whole.first(count)
    return of_images(images, lambda: features_of(extractor, images).of_images)


def of_images(images: ImageSet, make: Callable[[], np.ndarray]) -> Reference:
    """The reference of these images, whose features `make` returns."""
    return Reference(images.num_images, None, images, make, images.labels)


def no_features() -> np.ndarray:
    """The features of a Gaussian: always raises ValueError."""
    raise ValueError("a mean and a covariance have no features")


def no_labels(what: str) -> np.ndarray:
    """The labels of a file without any: always raises UserError."""
    raise UserError(
        f"{what}, a file of statistics, does not give the classes of its images, which evaluation.per_class=True needs: leave that out, or "
        "give the images as evaluation.reference. A features-*.npz of an earlier version has none: remove it, and evaluate its images again"
    )


def labels_of_file(
    what: str, read: KeptFeatures, class_names: tuple[str, ...] | None
) -> np.ndarray:
    """The labels in a file of features, by the data's numbers; UserError if it has none, or other classes."""
    if read.labels is None:
        return no_labels(what)
    if read.classes is None:
        return read.labels
    return numbered_as(what, "class", read.labels, read.classes, class_names)


def features_of(extractor: Extractor, images: ImageSet) -> Features:
    """Features of all images of a set."""
    return extractor.extract_taken(images.take, images.num_images)
