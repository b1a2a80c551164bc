"""--mode data: show the images as the network will see them, in numbers and as a picture, before any training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_sde import data
from score_sde.configs.default import check_options
from score_sde.data.folder import unusable_images
from score_sde.data.loader import labels_of
from score_sde.data.order import fixed_permutation
from score_sde.data.resizing import UnusableImage
from score_sde.data.splits import Datasets, Split, training_batch
from score_sde.evaluation.largest_distance import affordable, largest_distance
from score_sde.evaluation.pictures import save_grid
from score_sde.results import listed, report
from score_sde.sde_lib import SDE
from score_sde.spaces import Space, build_space
from score_sde.training.objective import step_images
from score_sde.unfinished import unused

PICTURE_IMAGES = 64
NAMED = 10  # files that an error names
# The most images read from a split that is not held in memory, and the most labels read from any split.
IMAGES_READ = 4096
LABELS_READ = 1 << 20
NUMBERS_AT_ONCE = 1 << 24
# Limits for the largest distance: seconds on two cores, half a gigabyte.
PRODUCTS, NUMBERS = 1 << 36, 1 << 26


def check(config: Any, sde: SDE) -> None:
    """Refuse options outside their ranges.

    Raises:
      UserError: states what was given, what was expected and what to do.
    """
    check_options(config)
    build_space(config)


def run(config: Any, sde: SDE, workdir: Path) -> dict[str, Any]:
    """Summarize both splits, draw the first training images, and report and return the figures."""
    try:
        return shown(config, workdir)
    except UnusableImage:
        if config.data.name == "folder":
            refuse_unusable(config)
        raise


def refuse_unusable(config: Any) -> None:
    """Raise DatasetError that names all image files that cannot be used, if there are several."""
    wrong = unusable_images(config.data, IMAGES_READ)
    if len(wrong) > 1:
        named = "".join(f"\n{one}" for one in wrong[:NAMED])
        first = f"; the first {NAMED}" if len(wrong) > NAMED else ""
        raise data.DatasetError(
            f"{len(wrong)} images of {config.data.folder} cannot be used: mend or remove them{first}:{named}"
        )


def shown(config: Any, workdir: Path) -> dict[str, Any]:
    """Read both splits; see `run`."""
    datasets, space = data.load(config), build_space(config)
    contents = datasets.contents()
    figures: dict[str, Any] = {
        "mode": "data",
        "data": datasets.name,
        "shape": list(space.shape),
        "num_levels": space.num_levels,
        "read": dict(contents.read),
        "ignored": dict(contents.ignored),
        "fingerprint": datasets.fingerprint.hash,
    }
    for name, split in (("train", datasets.train), ("test", datasets.test)):
        figures |= {f"{name}_{what}": value for what, value in looked_at(split, space).items()}
    figures |= distances(config, datasets.train, space)
    if config.sde.name == "ve":
        figures["sigma_max"] = config.model.sigma_max
    classes = class_counts(datasets)
    if space.num_levels is not None and jax.process_index() == 0:
        path = unused(workdir / "data", "train", ".png")
        save_grid(path, first_images(config, datasets.train, space), space.num_levels)
        figures["picture"] = str(path)
    report(workdir, {**figures, "classes": classes}, in_words(figures, classes))
    return {**figures, "classes": classes}


def some(number: int, most: int) -> np.ndarray:
    """Sorted positions of `most` images out of `number`, a fixed random subset; all of them if there are no more."""
    return np.arange(number) if number <= most else np.sort(fixed_permutation(number)[:most])


def stored_images(split: Split, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the images at these positions in chunks."""
    at_once = max(1, NUMBERS_AT_ONCE // math.prod(split.shape))
    for start in range(0, len(rows), at_once):
        yield split.take(rows[start : start + at_once]).images


def looked_at(split: Split, space: Space) -> dict[str, Any]:
    """Summarize a split: numbers of images in all and read, range of the model's inputs, number of levels that occur."""
    rows = some(split.num_images, IMAGES_READ if split.images is None else split.num_images)
    met = np.zeros(space.num_levels or 0, bool)
    least, most = math.inf, -math.inf
    for images in stored_images(split, rows):
        if space.num_levels is not None:
            met[images.ravel()] = True
        x = np.asarray(space.encode_middle(jnp.asarray(images)))
        least, most = min(least, float(x.min())), max(most, float(x.max()))
    return {
        "images": split.num_images,
        "images_read": len(rows),
        "x_min": least,
        "x_max": most,
        "levels_met": None if space.num_levels is None else int(met.sum()),
    }


def distances(config: Any, split: Split, space: Space) -> dict[str, Any]:
    """The largest distance between two of the training images, in the model's units and with mirror images if training flips.

    If there are too many images to compare all, a fixed random subset is compared.
    """
    dimension = math.prod(split.shape)
    rows = some(split.num_images, affordable(split.num_images, dimension, PRODUCTS, NUMBERS))
    parts = [np.asarray(space.encode_middle(jnp.asarray(i))) for i in stored_images(split, rows)]
    x = np.concatenate(parts)
    # Mirroring both images leaves their distance unchanged.
    others = np.concatenate([x, x[:, :, ::-1]]) if config.data.random_flip else x
    distance = largest_distance(x.reshape(len(x), -1), others.reshape(len(others), -1))
    return {
        "largest_distance": distance,
        "distance_images": len(rows),
        "distance_mirrored": bool(config.data.random_flip),
    }


def class_counts(datasets: Datasets) -> dict[str, list[int]] | None:
    """Numbers of training and of test images per class, among LABELS_READ of each; None unless all have a label."""
    try:
        counts = [
            np.bincount(labels_of(split.subset(some(split.num_images, LABELS_READ))))
            for split in (datasets.train, datasets.test)
        ]
    except data.DatasetError:
        return None
    most = max(map(len, counts), default=0)
    train, test = (np.pad(count, (0, most - len(count))) for count in counts)
    names = datasets.class_names or tuple(map(str, range(most)))
    return {names[i]: [int(train[i]), int(test[i])] for i in range(most) if train[i] + test[i]}


def first_images(config: Any, split: Split, space: Space) -> np.ndarray:
    """The first images of the first update, converted back to stored form, (n, h, w, c)."""
    batch_size = config.training.batch_size
    places = np.arange(min(PICTURE_IMAGES, batch_size), dtype=np.int32)
    batch = training_batch(split, config.seed, 0, batch_size, places)
    x0 = step_images(config, space, jax.tree.map(jnp.asarray, batch), 0)
    return np.asarray(space.decode(x0))


def counted(kinds: dict[str, int]) -> str:
    """Numbers of files of each kind, as text."""
    return ", ".join(f"{number} {kind}" for kind, number in kinds.items()) or "nothing"


def in_words(figures: dict[str, Any], classes: dict[str, list[int]] | None) -> str:
    """The figures of a dataset as printed text."""
    images, compared = figures["train_images"], figures["distance_images"]
    which = "all" if compared == images else f"{compared} of the {images}"
    mirrored = " and their mirror images (data.random_flip)" if figures["distance_mirrored"] else ""
    bound = "" if compared == images else " or more"
    here = f"; it is {figures['sigma_max']:g} here" if "sigma_max" in figures else ""
    found = {name: counted(figures[name]) for name in ("read", "ignored")}
    lines = [
        listed({**figures, **found}),
        "",
        f"The largest distance between two of {which} training images{mirrored} is {figures['largest_distance']:.4g}: for VE this suggests "
        f"model.sigma_max of {figures['largest_distance']:.4g}{bound} (Song and Ermon 2020, technique 1){here}.",
    ]
    if classes is None:
        return "\n".join([*lines, "Not every image has a class."])
    width = max(map(len, (*classes, "class")))
    counts_of = min(images, LABELS_READ)
    if counts_of < images:
        lines += ["", f"Classes of {counts_of} of the {images} training images:"]
    rows = [("class", "train", "test"), *((name, *counts) for name, counts in classes.items())]
    return "\n".join([*lines, "", *(f"{n:<{width}} {a:>9} {b:>9}" for n, a, b in rows)])
