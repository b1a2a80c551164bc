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
from score_sde.quality.image_sets import SPLITS, ImageSet, image_set, of_split
from score_sde.quality.statistics_files import Law, features_of_split, read_statistics
from score_sde.quality.strata import Strata
from score_sde.training.known_classes import known_classes
from score_sde.training.same_data import check_same_data

OfSplit = Callable[[str], Features]


@dataclasses.dataclass(frozen=True)
class Reference:
    """The reference that images are compared with: features of real images, or only a Gaussian."""

    num_images: int
    """Number m of real images; 0 if only a Gaussian is known."""
    law: Law | None
    images: ImageSet | None
    """None if the features come from a file."""
    make: Callable[[], np.ndarray]

    @functools.cached_property
    def features(self) -> np.ndarray:
        """Features (m, d), computed at first use: this can take long, and errors in the config should be raised before."""
        return self.make()

    @property
    def strata(self) -> Strata:
        return None if self.images is None else self.images.strata


class Opened(NamedTuple):
    """Everything needed to evaluate images for a config."""

    extractor: Extractor
    splits: Datasets
    of_split: OfSplit
    """Returns the features of a split, computed at most once."""
    reference: Reference


def load_splits(config: Any, workdir: Path) -> Datasets:
    """Load the data, with classes numbered as by the network in the working directory."""
    return data.load(config, classes=known_classes(config, workdir))


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
        images = of_split(getattr(splits, named)).first(count)
        n = images.num_images
        return Reference(n, None, images, lambda: of_split_kept(named).of_images[:n])
    path, what = user_path(named), f"evaluation.reference={named!r}"
    read = read_statistics(what, path, extractor) if path.is_file() else None
    if isinstance(read, Law):
        if count:
            raise UserError(
                f"{what} is a mean and a covariance, of which evaluation.num_reference={count} takes no part; leave it out"
            )
        return Reference(0, read, None, no_features)
    if read is not None:
        features = read[: count or None]
        return Reference(len(features), None, None, lambda: features)
    images = image_set(config, splits, "reference").first(count)
    n = images.num_images
    return Reference(n, None, images, lambda: features_of(extractor, images).of_images)


def no_features() -> np.ndarray:
    """The features of a Gaussian: always raises ValueError."""
    raise ValueError("a mean and a covariance have no features")


def features_of(extractor: Extractor, images: ImageSet) -> Features:
    """Features of all images of a set."""
    return extractor.extract_taken(images.take, images.num_images)


def known_labels(reference: Reference) -> np.ndarray:
    """The labels of the reference images; UserError if the reference is a file of statistics."""
    if reference.images is None:
        raise UserError(
            "evaluation.per_class=True beside a file of statistics, which does not say of which class its images are: leave it out, or give "
            "the images as evaluation.reference"
        )
    return reference.images.labels()
