"""Sets of images, accessed by index: a split of the data, an .npz file, or a folder of pictures.

Only requested images are held in memory.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from score_sde import data
from score_sde.data.array_files import PART, check_levels, read_images
from score_sde.data.arrays import as_labels
from score_sde.data.builders import DatasetError
from score_sde.data.fingerprint import hash_of_some
from score_sde.data.folder import class_of, load_pictures
from score_sde.data.image_files import image_files
from score_sde.data.image_shape import image_shape
from score_sde.data.loader import FIRST_IMAGES, labels_of
from score_sde.data.numpy_files import HoldsObjects, read_arrays
from score_sde.data.splits import Datasets, ImagesOnDisk, Split
from score_sde.errors import ConfigError, UserError
from score_sde.evaluation.pictures import levels_of
from score_sde.files import user_path
from score_sde.generation.sample_files import ARRAYS, CLASS_NAMES, LABELS
from score_sde.progress import say
from score_sde.quality.strata import Strata, strata_in_turn, strata_of
from score_sde.training.same_data import check_same_data
from score_sde.unfinished import changed

SPLITS = ("train", "test")
KEYS = ("images", "arr_0")  # our own name, and that of np.savez for an unnamed array

Rows = np.ndarray | range


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A set of images (h, w, c): integer levels, or real numbers if the config has no levels."""

    num_images: int
    take: Callable[[Rows], np.ndarray]
    """Returns the images at these positions."""
    labels: Callable[[], np.ndarray]
    """Returns the labels of all images, (n,); UserError if they are unknown."""
    told: Callable[[], np.ndarray | None] | None = None
    """For samples: returns the class or text on which each is conditioned, (n,). None: only `labels` can be known."""
    reused: int = 0
    """For samples: the number of images that they are conditioned on or start from in turn, if there are fewer; else 0."""
    folders: Callable[[], np.ndarray] | None = None
    """For a folder: returns the name of the sub-folder in which each picture lies, (n,)."""

    @functools.cached_property
    def strata(self) -> Strata:
        """The groups of samples that share an image; else the strata by condition (`told`) or by class, if known and equally frequent."""
        if self.reused:
            return strata_in_turn(self.num_images, self.reused)
        try:
            return strata_of((self.told or self.labels)())
        except UserError:
            return None

    def first(self, count: int) -> ImageSet:
        """The first `count` images; all for 0."""
        if not 0 < count < self.num_images:
            return self

        def told() -> np.ndarray | None:
            found = (self.told or self.labels)()
            return None if found is None else found[:count]

        return dataclasses.replace(
            self, num_images=count, labels=lambda: self.labels()[:count], told=told
        )


def image_set(config: Any, splits: Datasets, field: str) -> ImageSet:
    """The images given by this field of config.evaluation: train, test, a folder of pictures, or an .npz file.

    Raises:
      UserError: no such file, or images that do not match the config.
    """
    given = config.evaluation[field]
    if given in SPLITS:
        return of_split(getattr(splits, given))
    what = f"evaluation.{field}={given!r}"
    path = user_path(given)
    if path.is_dir():
        return of_folder(config, what, path, splits.class_names)
    return of_file(config, f"evaluation.{field}", given, splits.class_names)


def say_if_of_few_folders(what: str, images: ImageSet, count: int) -> None:
    """Say so if the first `count` pictures of a folder, which are sorted by name, leave out sub-folders for want of their turn."""
    if images.folders is None or not 0 < count < images.num_images:
        return
    folders = images.folders()
    taken, there = len(np.unique(folders[:count])), len(np.unique(folders))
    if taken < min(count, there):
        say(
            f"note: the first {count} pictures of {what}, by name, lie in {taken} of its {there} sub-folders: no others are used; take more, or "
            "put as many as you need of each sub-folder in another folder"
        )


def known_by(
    config: Any, given: str, conditions: Sequence[str] = (), classes: Sequence[str] = ()
) -> Any:
    """A value that identifies the images given by a field: the last change of a file or folder, or a split's fingerprint and hash.

    With `conditions`, the hash includes the conditions; `classes` are class names in the order of the network's labels.

    Raises:
      UserError: the hosts read different images from the dataset.
    """
    if given in SPLITS:
        datasets = data.load(config, conditions, classes=classes)
        check_same_data(datasets)
        return [datasets.fingerprint, hash_of_some(getattr(datasets, given))]
    return changed(given)


def of_split(split: Split, count: int = 0) -> ImageSet:
    """The first `count` images of a split, or all for 0, with their labels, which are read at most once."""
    n = min(count or split.num_images, split.num_images)
    # Where labels are stored with the images, as by TFDS, they take as long to read.
    labels = functools.cache(functools.partial(labels_of, split, n))
    return ImageSet(n, lambda rows: split.take(rows).images, labels)


def of_file(
    config: Any, what: str, given: str, class_names: tuple[str, ...] | None = None
) -> ImageSet:
    """The images of an .npz file, memory-mapped if it is not compressed. `what` names the config field."""
    _, images = read_images(config, what, given, KEYS)
    for start in range(0, len(images), PART):
        check_levels(config, f"{what}={given!r}", images[start : start + PART])

    def labels() -> np.ndarray:
        found = labels_in(f"{what}={given!r}", user_path(given), len(images), class_names)
        if found is None:
            raise UserError(
                f"{what}={given!r} has no `{LABELS}`, integers (n,), by which images are of a class"
            )
        return found

    return ImageSet(len(images), lambda rows: np.asarray(images[rows]), labels)


def labels_in(
    what: str, path: Path, count: int, class_names: tuple[str, ...] | None
) -> np.ndarray | None:
    """The labels in an .npz file of `count` images, by the data's numbers if it names their classes; None if it has none."""
    arrays = read_arrays(path, (LABELS,)).arrays
    if LABELS not in arrays:
        return None
    found, names = as_labels(path, LABELS, arrays[LABELS]), class_names_in(path)
    if names is not None and class_names:
        check_labels(what, found, count, names.tolist(), "its class_names")
        used, places = np.unique(found, return_inverse=True)
        return numbered_as(what, "class", places, names[used].tolist(), class_names)
    check_labels(what, found, count, class_names)
    return found


def class_names_in(path: Path) -> np.ndarray | None:
    """The names of classes in an .npz file; None unless they are texts (n,), since other programs use that name for anything."""
    try:
        names = read_arrays(path, (CLASS_NAMES,)).arrays.get(CLASS_NAMES)
    except HoldsObjects:
        return None
    return names if names is not None and names.dtype.kind == "U" and names.ndim == 1 else None


def check_labels(
    what: str,
    labels: np.ndarray,
    count: int,
    class_names: Sequence[str] | None,
    whose: str = "the data",
) -> None:
    """Refuse labels that are not one for each of `count` images, or not of these classes."""
    if len(labels) != count:
        raise UserError(f"{what} has {len(labels)} labels for {count} images; give one for each")
    if labels.min() < 0 or (class_names and labels.max() >= len(class_names)):
        expected = f"0 to {len(class_names) - 1} of {whose}" if class_names else "0 or more"
        raise UserError(
            f"{what} has labels from {labels.min()} to {labels.max()}: expected classes {expected}"
        )


def check_shades(config: Any, what: str, split: ImagesOnDisk) -> None:
    """Refuse pictures that hold levels, as the data's files do, instead of 8-bit shades: they would all look almost black."""
    stored, levels = config.data.stored_levels, config.data.num_levels
    if stored >= 256:
        return
    # The first images usually have a light pixel.
    for rows in (range(min(FIRST_IMAGES, split.num_images)), *split.chunks()):
        if split.take(rows).images.max() >= stored:
            return
    raise UserError(
        f"{what}: no pixel of its pictures is {stored} or more. Those of a folder are shades from 0, black, to 255, white, as --mode sample writes "
        f"them, not levels as in the dataset (data.stored_levels={stored}): save levels v as np.round(255 * v / {levels - 1}), or give them in an "
        ".npz file"
    )


def of_folder(
    config: Any, what: str, folder: Path, class_names: tuple[str, ...] | None
) -> ImageSet:
    """The pictures of a folder, with 8-bit shades converted to the config's levels; they include any padding of data.pad.

    Their classes are the folder's sub-folders, or the labels in the .npz file that --mode sample writes beside its own folder.

    Raises:
      UserError: pictures of another size, or that hold levels instead of shades.
    """
    levels = config.data.num_levels
    if not 2 <= levels <= 256:
        raise ConfigError(
            f"{what} is a folder of pictures, which have 2 to 256 levels, and data.num_levels={levels}; give an .npz file"
        )
    own = config.data.copy_and_resolve_references()
    own.pad = 0
    try:
        split, names = load_pictures(folder, own)
    except DatasetError as error:
        height, width, _ = image_shape(config.data)
        raise UserError(
            f"{what}: {error} (expected pictures of data.image_size, {height}x{width}, or data.resize=True)"
        ) from error
    check_shades(config, what, split)

    def labels() -> np.ndarray:
        beside = Path(f"{folder.resolve()}{ARRAYS}")
        if not names and beside.is_file():
            found = labels_in(f"{beside} beside {what}", beside, split.num_images, class_names)
            if found is not None:
                return found[places_of(image_files(folder), beside)]
        return numbered_as(what, "folder", labels_of(split), names, class_names)

    def folders() -> np.ndarray:
        return np.array([class_of(path, folder, 0) for path in image_files(folder)])

    return ImageSet(
        split.num_images,
        lambda rows: levels_of(split.take(rows).images, levels),
        labels,
        folders=folders,
    )


def numbered_as(
    what: str,
    kind: str,
    labels: np.ndarray,
    names: Sequence[str],
    class_names: tuple[str, ...] | None,
) -> np.ndarray:
    """The labels (n,) of classes with these names, by the data's numbers; UserError for a class, called a `kind`, that the data do not have."""
    if unknown := sorted(set(names) - set(class_names or ())):
        raise UserError(
            f"{what}: its {kind} {unknown[0]!r} is no class of the data, "
            + (
                f"which has {', '.join(class_names[:10])}"
                if class_names
                else "whose classes have no names"
            )
        )
    return np.asarray([(class_names or ()).index(name) for name in names])[labels]


def places_of(pictures: Sequence[Path], beside: Path) -> list[int]:
    """Positions of pictures, by which they are named, in the arrays beside a folder of samples."""
    places = [int(path.stem) if path.stem.isdecimal() else -1 for path in pictures]
    if sorted(places) != list(range(len(pictures))):
        raise UserError(
            f"{beside} has labels of the pictures 000000.png to {len(pictures) - 1:06d}.png, and others lie in the folder; remove one or the other"
        )
    return places
