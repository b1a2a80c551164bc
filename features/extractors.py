"""Features of any number of images, given by `evaluation.features`: pixels, or features of a network."""

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
BATCH = 32  # images per batch; in Inception on a CPU each takes 8 MB of memory, according to XLA
# Recorded facts that must agree for figures to be comparable; the name of a file is not among them.
CONVENTION = ("features", "features_network", "features_sha256", "features_resize")


class Features(NamedTuple):
    """Features of n images."""

    of_images: np.ndarray
    """(n, d), float32."""
    logits: np.ndarray | None
    """Logits (n, classes) of a classifier, else None."""

    def first(self, count: int) -> Features:
        """Those of the first `count` images."""
        logits = None if self.logits is None else self.logits[:count]
        return Features(self.of_images[:count], logits)


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A feature extractor."""

    recorded: dict[str, Any]
    """Facts about the features, for the record."""
    dimension: int
    """Number d of features."""
    of_batch: Callable[[np.ndarray], Features]
    """Computes the features of a batch (b, h, w, c) of levels, or of real numbers if the config has no levels."""
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    """LPIPS (b,) between corresponding images of two batches, if the network has weights for it."""
    kept: bool = True
    """Whether the features are expensive enough to be saved in a file."""

    @property
    def convention(self) -> dict[str, Any]:
        """The recorded facts that must agree for figures to be comparable."""
        return {name: self.recorded[name] for name in CONVENTION if name in self.recorded}

    def extract(self, images: np.ndarray, show: bool = True) -> Features:
        """The features of images (n, h, w, c) in memory."""
        return self.extract_taken(lambda rows: images[rows.start : rows.stop], len(images), show)

    def extract_taken(
        self, take: Callable[[range], np.ndarray], count: int, show: bool = True
    ) -> Features:
        """The features of `count` images, which `take` returns by position in batches of BATCH; only one batch is in memory."""
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
    """Refuse missing weights, and images that the network does not accept.

    Raises:
      UserError: with instructions.
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
            f"evaluation.features={given!r} takes grey or RGB images of integer levels, not {data.num_channels} channels with "
            f"data.num_levels={data.num_levels}; set evaluation.features={PIXELS}"
        )


def build_extractor(config: Any, workdir: Path | None = None) -> Extractor:
    """Build the extractor of config.evaluation.features; the network of a weights file is recognized by its contents.

    Args:
      workdir: a classifier trained for this is kept in <workdir>/evaluation; None: it is not saved.

    Raises:
      UserError: a file does not contain the weights of a known network.
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
    """The extractor of pixels: levels scaled to [0, 1], real numbers unchanged."""
    levels = config.data.num_levels
    dimension = math.prod(image_shape(config.data))
    return Extractor(
        {"features": PIXELS},
        dimension,
        lambda images: Features(pixels(images, levels), None),
        kept=False,
    )


def of_classifier(config: Any, workdir: Path | None) -> Extractor:
    """The extractor by a classifier of the dataset's own classes."""
    classify, facts = load_classifier(config, workdir)
    levels = config.data.num_levels

    def of_batch(images: np.ndarray) -> Features:
        return Features(*jax.device_get(classify(in_unit(images, levels))))

    return Extractor(recorded(CLASSIFIER, facts), WIDTH, of_batch)


def of_perceptual(name: str, levels: int) -> Extractor:
    """The extractor by a network of LPIPS."""
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
    """The extractor by the network whose weights are in a file."""
    public, params, facts = read_weights(path, tuple(OF_FILES))
    # Once, as up to 1.2 GB would otherwise be copied to the device with each batch.
    return OF_FILES[public](jax.device_put(params), facts, levels)


def of_inception(params: Any, facts: dict[str, Any], levels: int) -> Extractor:
    """The extractor by the Inception network of FID."""
    run = jax.jit(inception_features)

    def of_batch(images: np.ndarray) -> Features:
        found = jax.device_get(run(params, as_rgb(shades(images, levels))))
        return Features(found.pooled, found.logits)

    return Extractor(recorded("", facts), POOLED, of_batch)


def of_dinov2(params: Any, facts: dict[str, Any], levels: int) -> Extractor:
    """The extractor by the network of FD-DINOv2."""
    run = jax.jit(dinov2.dinov2_features)

    def of_batch(images: np.ndarray) -> Features:
        return Features(jax.device_get(run(params, as_rgb(shades(images, levels)))), None)

    return Extractor(recorded("", facts | {"resize": dinov2.RESIZE}), dinov2.WIDTH, of_batch)


OF_FILES: dict[PublicFile, Callable[[Any, dict[str, Any], int], Extractor]] = {
    INCEPTION: of_inception,
    DINOV2: of_dinov2,
}


def recorded(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    """The facts about features for the record; `name` is empty for files, whose names do not matter."""
    return ({"features": name} if name else {}) | {
        f"features_{key}": fact for key, fact in facts.items()
    }


def pixels(images: np.ndarray, levels: int) -> np.ndarray:
    """Images scaled by `in_unit` and flattened, (n, d)."""
    return in_unit(images, levels).reshape(len(images), -1)
