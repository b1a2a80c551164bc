"""Features, mean and covariance in .npz files: our own, which record their origin, and the `mu` and `sigma` of other programs.

Our files include the features, since mean and covariance determine only the Frechet distance: not the part of its error due to
the reference, nor neighbours. Other programs can read `mu` and `sigma` from them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from score_sde.data.builders import DatasetError
from score_sde.data.fingerprint import hash_of_some, image_settings
from score_sde.data.numpy_files import read_arrays
from score_sde.data.splits import Datasets
from score_sde.errors import UserError
from score_sde.features.extractors import Extractor, Features
from score_sde.files import parse_json, write_whole
from score_sde.quality.moments import moments
from score_sde.version import made_by

MU, SIGMA, FEATURES, LOGITS, ABOUT = "mu", "sigma", "features", "logits", "about"
# In ABOUT: version and commit, which are not compared, since features do not depend on them.
MADE_BY = "made_by"
ASYMMETRY = 1e-5  # allowed, relative to the largest entry; published files are float64


class Law(NamedTuple):
    """A Gaussian distribution of features."""

    mean: np.ndarray
    """(d,)"""
    covariance: np.ndarray
    """(d, d)"""


def features_of_split(
    config: Any, workdir: Path, extractor: Extractor, splits: Datasets, name: str
) -> Features:
    """The features of a split, read from <workdir>/evaluation, or computed and, if expensive, saved there.

    Raises:
      UserError: the file is damaged.
    """
    split = getattr(splits, name)
    seen = hashlib.sha256()

    def take(rows: range) -> np.ndarray:
        images = split.take(rows).images
        seen.update(images.tobytes())
        return images

    def make() -> Features:
        return extractor.extract_taken(take, split.num_images)

    if not extractor.kept:
        return make()
    about = {
        "convention": extractor.convention,
        "data": image_settings(config.data),
        "files": splits.fingerprint.hash,
        "split": name,
        "num_images": split.num_images,
        "some_images": hash_of_some(split),
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    path = workdir / "evaluation" / f"features-{name}-{digest}.npz"
    if path.exists():
        return read_kept(path, about, (split.num_images, extractor.dimension))
    features = make()
    if jax.process_index() == 0:
        facts = about | {"images_sha256": seen.hexdigest(), MADE_BY: made_by()}
        write_statistics(path, features, facts)
    return features


def write_statistics(path: Path, features: Features, about: dict[str, Any]) -> None:
    """Write features (n, d) with their mean and covariance, and a record of their origin."""
    law = moments(features.of_images)
    arrays = {
        FEATURES: features.of_images,
        MU: law.mean,
        SIGMA: law.covariance,
        ABOUT: np.array(json.dumps(about)),
    } | ({} if features.logits is None else {LOGITS: features.logits})
    write_whole(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def read_kept(path: Path, about: dict[str, Any], shape: tuple[int, int]) -> Features:
    """Read the features in a file of `write_statistics`, and check that it has this origin and shape."""
    try:
        arrays = read_arrays(path, (FEATURES, LOGITS, ABOUT)).arrays
        found = about_of(arrays)
        for name in ("images_sha256", MADE_BY):
            found.pop(name, None)
        if found != about or arrays[FEATURES].shape != shape:
            raise ValueError("it is of other images or features than its name says")
        return Features(arrays[FEATURES], arrays.get(LOGITS))
    except (DatasetError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}, features that were kept, is damaged ({error}); remove it, and they are made again"
        ) from error


def about_of(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The recorded origin of the features in one of our files."""
    found = parse_json(str(arrays[ABOUT]))
    if not isinstance(found, dict):
        raise ValueError("it does not say of what it is")
    return found


def read_statistics(what: str, path: Path, extractor: Extractor) -> np.ndarray | Law | None:
    """Read the features (n, d) of one of our files, or the Gaussian of another program's; None for a file without `mu`.

    Args:
      what: option and value, for messages.

    Raises:
      UserError: features of another convention or dimension, or a damaged file.
    """
    try:
        arrays = read_arrays(path, (MU, SIGMA, FEATURES, ABOUT)).arrays
    except DatasetError as error:
        raise UserError(f"{what} cannot be read as an .npz file: {error}") from error
    if MU not in arrays:
        return None
    if ABOUT in arrays:
        return features_as_asked(what, arrays, extractor)
    return published_law(what, arrays, extractor.dimension)


def features_as_asked(what: str, arrays: dict[str, np.ndarray], extractor: Extractor) -> np.ndarray:
    """The features in one of our files; UserError unless they follow the convention of config.evaluation."""
    try:
        convention = dict(about_of(arrays)["convention"])
        features = arrays[FEATURES]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{what} is damaged: it does not say of which features it is") from error
    asked = extractor.convention
    different = [
        f"{key.removeprefix('features_')} {convention.get(key, 'not said')!r} in the file, {asked.get(key, 'not said')!r} asked for"
        for key in sorted(convention.keys() | asked.keys())
        if convention.get(key) != asked.get(key)
    ]
    if different:
        raise UserError(
            f"{what} has features by another convention, with which no figure compares: {'; '.join(different)}; set "
            "evaluation.features to the file's own, or give another reference"
        )
    check_real_numbers(what, FEATURES, features, (len(features), extractor.dimension))
    return features


def published_law(what: str, arrays: dict[str, np.ndarray], dimension: int) -> Law:
    """The Gaussian with mean `mu` (d,) and covariance `sigma` (d, d), checked."""
    if SIGMA not in arrays:
        raise UserError(f"{what} has `{MU}` and no `{SIGMA}`; statistics have both")
    mean, covariance = (np.asarray(arrays[name]) for name in (MU, SIGMA))
    check_real_numbers(what, MU, mean, (dimension,))
    check_real_numbers(what, SIGMA, covariance, (dimension, dimension))
    mean, covariance = mean.astype(np.float64), covariance.astype(np.float64)
    apart = np.abs(covariance - covariance.T).max()
    if apart > ASYMMETRY * np.abs(covariance).max() or (np.diag(covariance) < 0).any():
        raise UserError(
            f"{what}: `{SIGMA}` is no covariance: it is not symmetric, or has a variance below 0"
        )
    return Law(mean, covariance)


def check_real_numbers(what: str, name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape or type, or with non-finite numbers."""
    if array.shape != shape:
        raise UserError(
            f"{what}: `{name}` has the shape {array.shape}, expected {shape} of evaluation.features; they are of other features"
        )
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise UserError(
            f"{what}: `{name}` ({array.dtype}) is not all finite real numbers: it is damaged"
        )
