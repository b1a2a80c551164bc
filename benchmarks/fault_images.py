"""Random sets of real images, and samples made from them with a known fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.power import HONEST
from score_sde import data
from score_sde.configs.default import get_config
from score_sde.configs.variants import changed
from score_sde.data.loader import labels_of
from score_sde.features.extractors import Features, build_extractor, check_features

NOISE = 5.0  # standard deviation, in levels of 0 ... 255
COPIED = 10  # one sample in this many is a training image

Change = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
"""(images, brightest level, generator) -> changed images, rounded to levels."""


class Sizes(NamedTuple):
    """Sizes of the reference and held-out sets, and the numbers of samples."""

    reference: int
    held_out: int
    numbers: tuple[int, ...]


class ImageSet(NamedTuple):
    """The config of a dataset, and the sizes of the sets drawn from it."""

    config: dict[str, Any]
    sizes: Sizes


IMAGES = {
    "digits": ImageSet(
        {"data.name": "digits", "data.image_size": 8, "data.num_levels": 17},
        Sizes(500, 300, (50, 100, 200, 400, 800)),
    ),
    "mnist5k": ImageSet(
        {"data.name": "mnist5k", "data.image_size": 28},
        Sizes(1000, 500, (50, 100, 200, 400, 800, 1600)),
    ),
    "photo_patches": ImageSet(
        {"data.name": "photo_patches", "data.image_size": 32, "data.num_channels": 3},
        Sizes(400, 200, (50, 100, 200, 400)),
    ),
}


def noisy(images: np.ndarray, white: int, rng: np.random.Generator) -> np.ndarray:
    """Add normal noise of standard deviation NOISE, as left by a sampler that stops too early."""
    noise = NOISE / 255 * white * rng.standard_normal(images.shape)
    return np.clip(np.round(images + noise), 0, white)


def blurred(images: np.ndarray, white: int, rng: np.random.Generator) -> np.ndarray:
    """Replace each pixel by the mean of the 2x2 block to its lower right; the last row and column are repeated."""
    edged = np.pad(images.astype(np.float64), ((0, 0), (0, 1), (0, 1), (0, 0)), "edge")
    rows = edged[:, 1:] + edged[:, :-1]
    return np.round((rows[:, :, 1:] + rows[:, :, :-1]) / 4)


CHANGES: dict[str, Change] = {"noise": noisy, "blur": blurred}


class Pool(NamedTuple):
    """Features of all images of a set: unchanged under HONEST, and with the fault under each name of CHANGES."""

    features: dict[str, Features]
    labels: np.ndarray

    def take(self, kind: str, rows: np.ndarray) -> Features:
        features, logits = self.features[kind]
        return Features(features[rows], None if logits is None else logits[rows])


def load_pool(name: str, features: str) -> Pool:
    """Load the features of both splits of a set of IMAGES, for a name of config.evaluation.features.

    Raises:
      UserError: the package with the images or the weights is not installed.
    """
    config = changed(get_config(), IMAGES[name].config, {"evaluation.features": features})
    check_features(config)
    splits = data.load(config, ("label",))
    both = (splits.train, splits.test)
    images = np.concatenate([split.take(np.arange(split.num_images)).images for split in both])
    extractor, rng, white = (
        build_extractor(config),
        np.random.default_rng(0),
        config.data.num_levels - 1,
    )
    changes = {
        kind: change(images, white, rng).astype(np.uint8) for kind, change in CHANGES.items()
    }
    found = {kind: extractor.extract(x) for kind, x in {HONEST: images, **changes}.items()}
    return Pool(found, np.concatenate([labels_of(split) for split in both]))


class Deal(NamedTuple):
    """Rows of a pool, divided at random into three disjoint sets."""

    reference: np.ndarray
    """The images that the generator was supposedly trained on."""
    held_out: np.ndarray
    fresh: np.ndarray
    """Honest samples; usually more than needed."""


def deal(total: int, sizes: Sizes, rng: np.random.Generator) -> Deal:
    ends = (sizes.reference, sizes.reference + sizes.held_out)
    return Deal(*np.split(rng.permutation(total), ends))


Choice = Callable[[Deal, Pool, int, np.random.Generator], np.ndarray]


def whole(deal: Deal, pool: Pool, n: int, rng: np.random.Generator) -> np.ndarray:
    return deal.fresh[:n]


def class_missing(deal: Deal, pool: Pool, n: int, rng: np.random.Generator) -> np.ndarray:
    """Images without one class, a different class in every repetition."""
    missing = rng.choice(np.unique(pool.labels))
    return deal.fresh[pool.labels[deal.fresh] != missing][:n]


def all_copies(deal: Deal, pool: Pool, n: int, rng: np.random.Generator) -> np.ndarray:
    """Training images, drawn with replacement."""
    return rng.choice(deal.reference, n)


def some_copies(deal: Deal, pool: Pool, n: int, rng: np.random.Generator) -> np.ndarray:
    """Honest samples of which one in COPIED is replaced by a training image."""
    copies = n // COPIED
    rows = np.concatenate([rng.choice(deal.reference, copies), deal.fresh[: n - copies]])
    return rng.permutation(rows)


class Fault(NamedTuple):
    """The choice of images for the samples, and the change applied to them."""

    choice: Choice
    kind: str = HONEST
    """Key of the pool's features."""


FAULTS = {
    f"noise, {NOISE:g} of 255": Fault(whole, "noise"),
    "blur, 2x2": Fault(whole, "blur"),
    "a class missing": Fault(class_missing),
    "all copies": Fault(all_copies),
    f"1 in {COPIED} a copy": Fault(some_copies),
}
