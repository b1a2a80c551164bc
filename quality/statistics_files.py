"""Features, mean and covariance in .npz files: our own, which record their origin, and the `mu` and `sigma` of other programs.

Our files include the features, since mean and covariance determine only the Frechet distance: not the part of its error due to
the reference, nor neighbours. Labels, where the images have them, tell whether these are equally many of each class (strata.py).
Other programs can read `mu` and `sigma`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from score_sde.data.arrays import as_labels
from score_sde.data.builders import DatasetError
from score_sde.data.fingerprint import hash_of_some, image_settings
from score_sde.data.loader import labels_of
from score_sde.data.numpy_files import read_arrays
from score_sde.data.splits import Datasets, Split
from score_sde.errors import UserError
from score_sde.features.extractors import Extractor, Features
from score_sde.files import parse_json, write_whole
from score_sde.generation.sample_files import LABELS
from score_sde.progress import say
from score_sde.quality.image_sets import KEYS, check_labels
from score_sde.quality.moments import moments
from score_sde.version import made_by

MU, SIGMA, FEATURES, LOGITS, ABOUT = "mu", "sigma", "features", "logits", "about"
# In ABOUT, and not compared, since features do not depend on them: version and commit, and the names of the labels 0, 1, ...
MADE_BY, CLASSES = "made_by", "classes"
ASYMMETRY = 1e-5  # allowed, relative to the largest entry; published files are float64


class Law(NamedTuple):
    """A Gaussian distribution of features."""

    mean: np.ndarray
    """(d,)"""
    covariance: np.ndarray
    """(d, d)"""


class KeptFeatures(NamedTuple):
    """The features in one of our files, with what it knows of the images."""

    of_images: np.ndarray
    """(n, d)"""
    labels: np.ndarray | None
    """(n,), None if the images have none or the file is of a version that did not save them."""
    classes: tuple[str, ...] | None
    """Names of the labels 0, 1, ..., if known."""


def features_of_split(
    config: Any, workdir: Path, extractor: Extractor, splits: Datasets, name: str, count: int
) -> Features:
    """The features of the first `count` images of a split, or of all for 0; those of expensive ones are saved in <workdir>/evaluation.

    Raises:
      UserError: a file there is damaged.
    """
    split = getattr(splits, name)
    n = min(count or split.num_images, split.num_images)
    seen = hashlib.sha256()

    def take(rows: range) -> np.ndarray:
        images = split.take(rows).images
        seen.update(images.tobytes())
        return images

    def make() -> Features:
        return extractor.extract_taken(take, n)

    if not extractor.kept:
        return make()
    about = {
        "convention": extractor.convention,
        "data": image_settings(config.data),
        "files": splits.fingerprint.hash,
        "split": name,
        "num_images": n,
        "some_images": hash_of_some(split),
    }
    of_all = about | {"num_images": split.num_images}
    for of_file in (about, of_all):
        path = file_of(workdir, of_file)
        if path.exists():
            shape = (of_file["num_images"], extractor.dimension)
            return read_kept(path, of_file, shape).first(n)
    features = make()
    if jax.process_index() == 0:
        facts = about | {
            "images_sha256": seen.hexdigest(),
            MADE_BY: made_by(),
            CLASSES: splits.class_names,
        }
        write_statistics(file_of(workdir, about), features, known_labels(split, n), facts)
    return features


def file_of(workdir: Path, about: dict[str, Any]) -> Path:
    """The file for features of this origin."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    return workdir / "evaluation" / f"features-{about['split']}-{digest}.npz"


def known_labels(split: Split, count: int) -> np.ndarray | None:
    """The labels of the first `count` images; None if the dataset has none."""
    try:
        return labels_of(split, count)
    except DatasetError:
        return None


def write_statistics(
    path: Path, features: Features, labels: np.ndarray | None, about: dict[str, Any]
) -> None:
    """Write features (n, d) with their mean and covariance, known labels (n,), and a record of their origin."""
    law = moments(features.of_images)
    arrays = {
        FEATURES: features.of_images,
        MU: law.mean,
        SIGMA: law.covariance,
        ABOUT: np.array(json.dumps(about)),
    }
    arrays |= {} if features.logits is None else {LOGITS: features.logits}
    arrays |= {} if labels is None else {LABELS: labels}
    write_whole(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def read_kept(path: Path, about: dict[str, Any], shape: tuple[int, int]) -> Features:
    """Read the features in a file of `write_statistics`, and check that it has this origin and shape."""
    try:
        arrays = read_arrays(path, (FEATURES, LOGITS, ABOUT)).arrays
        found = about_of(arrays)
        for name in ("images_sha256", MADE_BY, CLASSES):
            found.pop(name, None)
        if found != about or arrays[FEATURES].shape != shape:
            raise ValueError("it holds other images or features than its name says")
        return Features(arrays[FEATURES], arrays.get(LOGITS))
    except (DatasetError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}, which holds cached features, is damaged ({error}); remove it, and they are computed again"
        ) from error


def about_of(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The recorded origin of the features in one of our files."""
    found = parse_json(str(arrays[ABOUT]))
    if not isinstance(found, dict):
        raise ValueError("it does not say what it holds")
    return found


def read_statistics(what: str, path: Path, extractor: Extractor) -> KeptFeatures | Law | None:
    """Read the features of one of our files, or the Gaussian of another program's; None for a file of images, or without `mu`.

    A file of images may also have `mu` and `sigma`, as the reference batches of ADM's authors do. These may be of other, more images, and
    determine fewer figures, so that the images are the reference.

    Args:
      what: option and value, for messages.

    Raises:
      UserError: features of another convention or dimension, or a damaged file.
    """
    try:
        file = read_arrays(path, (MU, SIGMA, FEATURES, ABOUT, LABELS))
    except DatasetError as error:
        raise UserError(f"{what} cannot be read as an .npz file: {error}") from error
    arrays = file.arrays
    if MU not in arrays:
        return None
    if ABOUT not in arrays and (images := [key for key in KEYS if key in file.others]):
        say(
            f"{what} has images (`{images[0]}`) and also `{MU}`: the images are the reference; for the mean and covariance instead, give a file "
            f"with only `{MU}` and `{SIGMA}`"
        )
        return None
    if ABOUT in arrays:
        return features_as_asked(what, path, arrays, extractor)
    return published_law(what, arrays, extractor.dimension)


def features_as_asked(
    what: str, path: Path, arrays: dict[str, np.ndarray], extractor: Extractor
) -> KeptFeatures:
    """The features in one of our files; UserError unless they follow the convention of config.evaluation."""
    try:
        about = about_of(arrays)
        convention = dict(about["convention"])
        features, labels = arrays[FEATURES], arrays.get(LABELS)
        classes = tuple(about.get(CLASSES) or ()) or None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{what} is damaged: it does not say which features it holds") from error
    asked = extractor.convention
    different = [
        f"{key.removeprefix('features_')} {convention.get(key, 'not said')!r} in the file, {asked.get(key, 'not said')!r} asked for"
        for key in sorted(convention.keys() | asked.keys())
        if convention.get(key) != asked.get(key)
    ]
    if different:
        raise UserError(
            f"{what} has features of another convention, so no figures are comparable: {'; '.join(different)}; set evaluation.features to "
            "the file's own, or give another reference"
        )
    check_real_numbers(what, FEATURES, features, (len(features), extractor.dimension))
    if labels is not None:
        check_labels(what, as_labels(path, LABELS, labels), len(features), classes)
    return KeptFeatures(features, labels, classes)


def published_law(what: str, arrays: dict[str, np.ndarray], dimension: int) -> Law:
    """The Gaussian with mean `mu` (d,) and covariance `sigma` (d, d), checked."""
    if SIGMA not in arrays:
        raise UserError(f"{what} has `{MU}` but no `{SIGMA}`; both are needed")
    mean, covariance = (np.asarray(arrays[name]) for name in (MU, SIGMA))
    check_real_numbers(what, MU, mean, (dimension,))
    check_real_numbers(what, SIGMA, covariance, (dimension, dimension))
    mean, covariance = mean.astype(np.float64), covariance.astype(np.float64)
    apart = np.abs(covariance - covariance.T).max()
    if apart > ASYMMETRY * np.abs(covariance).max() or (np.diag(covariance) < 0).any():
        raise UserError(
            f"{what}: `{SIGMA}` is not a covariance: it is not symmetric, or has a variance below 0"
        )
    return Law(mean, covariance)


def check_real_numbers(what: str, name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape or type, or with non-finite numbers."""
    if array.shape != shape:
        raise UserError(
            f"{what}: `{name}` has the shape {array.shape}, expected {shape} for evaluation.features; the file holds other features"
        )
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise UserError(
            f"{what}: `{name}` ({array.dtype}) has entries that are not finite real numbers: it is damaged"
        )
