"""Features of any number of images, by `evaluation.features`: pixels, or a network's, whose weights a file holds."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from score_sde.data.image_shape import image_shape
from score_sde.errors import ConfigError
from score_sde.evaluation.pictures import shades
from score_sde.features import dinov2
from score_sde.features.classifier import CLASSIFIER, WIDTH, check_classifier, load_classifier
from score_sde.features.dinov2_weights import DINOV2
from score_sde.features.inception import POOLED, as_rgb, inception_features
from score_sde.features.inception_weights import INCEPTION
from score_sde.features.levels import in_unit
from score_sde.features.perceptual import PERCEPTUAL, perceptual_distance, perceptual_features
from score_sde.features.perceptual_weights import check_perceptual, load_perceptual
from score_sde.features.weights_file import PublicFile, read_weights
from score_sde.files import user_path
from score_sde.progress import progress_bar

PIXELS = "pixels"
NAMES = (PIXELS, CLASSIFIER, *PERCEPTUAL)
BATCH = 32  # images at once: 8 MB of memory each on a CPU in Inception, as XLA plans it
# Of what the record says, by which figures are comparable; a file may have any name.
CONVENTION = ("features", "features_network", "features_sha256", "features_resize")


class Features(NamedTuple):
    """Of n images."""

    of_images: np.ndarray
    """(n, d), float32."""
    logits: np.ndarray | None
    """(n, classes), of features of a classifier."""


@dataclasses.dataclass(frozen=True)
class Extractor:
    """How features are made."""

    recorded: dict[str, Any]
    """What the record says of them: figures by other features are other figures."""
    dimension: int
    """d."""
    of_batch: Callable[[np.ndarray], Features]
    """Of a few images (b, h, w, c), always as many but for the last: levels, or real numbers where the config has none."""
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    """LPIPS between two batches, image by image (b,), where the network has weights for it."""
    kept: bool = True
    """Whether to make them again takes so long that a file of them is worth its room."""

    @property
    def convention(self) -> dict[str, Any]:
        """By which figures are comparable."""
        return {name: self.recorded[name] for name in CONVENTION if name in self.recorded}

    def extract(self, images: np.ndarray, show: bool = True) -> Features:
        """Of images (n, h, w, c) in memory."""
        return self.extract_taken(lambda rows: images[rows.start : rows.stop], len(images), show)

    def extract_taken(
        self, take: Callable[[range], np.ndarray], count: int, show: bool = True
    ) -> Features:
        """Of `count` images, which `take` gives by their places, BATCH at a time; no more of them are in memory."""
        features, logits = np.empty((count, self.dimension), np.float32), []
        with progress_bar(count, "features", "image", show and self.kept) as bar:
            for start in range(0, count, BATCH):
                rows = range(start, min(start + BATCH, count))
                part = take(rows)
                padded = np.resize(part, (min(BATCH, count), *part.shape[1:]))
                found = self.of_batch(padded)
                features[rows.start : rows.stop] = found.of_images[: len(rows)]
                if found.logits is not None:
                    logits.append(found.logits[: len(rows)])
                bar.update(len(rows))
        return Features(features, np.concatenate(logits) if logits else None)


def check_features(config: Any) -> None:
    """Refuse a file that is not there, and what a network cannot see.

    Raises:
      UserError: saying what to do.
    """
    given, data = config.evaluation.features, config.data
    if given == PIXELS:
        return
    if given == CLASSIFIER:
        check_classifier(config)
        return
    if given in PERCEPTUAL:
        check_perceptual(given)
    elif not user_path(given).is_file():
        raise ConfigError(
            f"evaluation.features={given!r}: no such file; give {', '.join(NAMES)}, or the weights of {INCEPTION.title} ({INCEPTION.where}) "
            f"or of {DINOV2.title} ({DINOV2.where})"
        )
    if not data.num_levels or data.num_channels not in (1, 3):
        raise ConfigError(
            f"evaluation.features={given!r} sees grey or RGB images of levels, not {data.num_channels} channels with "
            f"data.num_levels={data.num_levels}; set evaluation.features={PIXELS}"
        )


def build_extractor(config: Any, workdir: Path | None = None) -> Extractor:
    """As config.evaluation.features says; a file is known by what is in it.

    Args:
      workdir: where a classifier that is trained for it is kept, <workdir>/evaluation; None: nowhere.

    Raises:
      UserError: a file with other contents than these weights.
    """
    given = config.evaluation.features
    if given == PIXELS:
        return of_pixels(config)
    if given == CLASSIFIER:
        return of_classifier(config, workdir)
    if given in PERCEPTUAL:
        return of_perceptual(given, config.data.num_levels)
    return of_file(Path(user_path(given)), config.data.num_levels)


def of_pixels(config: Any) -> Extractor:
    """Levels in [0, 1], real numbers as they are."""
    levels = config.data.num_levels
    dimension = math.prod(image_shape(config.data))
    return Extractor(
        {"features": PIXELS},
        dimension,
        lambda images: Features(pixels(images, levels), None),
        kept=False,
    )


def of_classifier(config: Any, workdir: Path | None) -> Extractor:
    """Of a classifier of the dataset's own classes."""
    classify, facts = load_classifier(config, workdir)
    levels = config.data.num_levels

    def of_batch(images: np.ndarray) -> Features:
        return Features(*jax.device_get(classify(in_unit(images, levels))))

    return Extractor(recorded(CLASSIFIER, facts), WIDTH, of_batch)


def of_perceptual(name: str, levels: int) -> Extractor:
    """Of a network of LPIPS."""
    params, facts = load_perceptual(name)
    params = jax.device_put(params)  # once, as in `of_file`
    run = jax.jit(functools.partial(perceptual_features, name))
    compare = jax.jit(functools.partial(perceptual_distance, name))

    def of_batch(images: np.ndarray) -> Features:
        return Features(jax.device_get(run(params, as_rgb(shades(images, levels)))), None)

    def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return jax.device_get(compare(params, *(as_rgb(shades(x, levels)) for x in (a, b))))

    return Extractor(recorded(name, facts), PERCEPTUAL[name].dimension, of_batch, distance)


def of_file(path: Path, levels: int) -> Extractor:
    """Of the network whose weights a file has."""
    public, params, facts = read_weights(path, tuple(OF_FILES))
    # Once: it is as much as 1.2 GB, which each batch would take to the device anew.
    return OF_FILES[public](jax.device_put(params), facts, levels)


def of_inception(params: Any, facts: dict[str, Any], levels: int) -> Extractor:
    """Of FID's network."""
    run = jax.jit(inception_features)

    def of_batch(images: np.ndarray) -> Features:
        found = jax.device_get(run(params, as_rgb(shades(images, levels))))
        return Features(found.pooled, found.logits)

    return Extractor(recorded("", facts), POOLED, of_batch)


def of_dinov2(params: Any, facts: dict[str, Any], levels: int) -> Extractor:
    """Of FD-DINOv2's network."""
    run = jax.jit(dinov2.dinov2_features)

    def of_batch(images: np.ndarray) -> Features:
        return Features(jax.device_get(run(params, as_rgb(shades(images, levels)))), None)

    return Extractor(recorded("", facts | {"resize": dinov2.RESIZE}), dinov2.WIDTH, of_batch)


OF_FILES: dict[PublicFile, Callable[[Any, dict[str, Any], int], Extractor]] = {
    INCEPTION: of_inception,
    DINOV2: of_dinov2,
}


def recorded(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    """For the record; a file's own name is no convention."""
    return ({"features": name} if name else {}) | {
        f"features_{key}": fact for key, fact in facts.items()
    }


def pixels(images: np.ndarray, levels: int) -> np.ndarray:
    """`in_unit`, (n, d)."""
    return in_unit(images, levels).reshape(len(images), -1)
