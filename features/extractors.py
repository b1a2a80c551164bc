"""Features of any number of images, by `evaluation.features`: pixels, or a network's, whose weights a file holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from score_sde.errors import ConfigError
from score_sde.evaluation.pictures import shades
from score_sde.features.inception import as_rgb, inception_features
from score_sde.features.inception_weights import WHERE, load_inception
from score_sde.files import user_path
from score_sde.progress import progress_bar

PIXELS = "pixels"
BATCH = 32  # images at once: 8 MB of memory each on a CPU, as XLA plans it


class Features(NamedTuple):
    """Of n images."""

    of_images: np.ndarray
    """(n, d)"""
    logits: np.ndarray | None
    """(n, classes), of features of a classifier."""


class Extractor(NamedTuple):
    """How features are made."""

    told: dict[str, Any]
    """What the record says of them: figures by other features are other figures."""
    extract: Callable[[np.ndarray], Features]
    """Of images (n, h, w, c): levels, or real numbers where the config has none."""


def check_features(config: Any) -> None:
    """Refuse a file that is not there, and what a network for photographs cannot see.

    Raises:
      ConfigError: saying what to do.
    """
    given, data = config.evaluation.features, config.data
    if given == PIXELS:
        return
    if not user_path(given).is_file():
        raise ConfigError(
            f"evaluation.features={given!r}: no such file; give {PIXELS}, or the weights of FID's Inception: {WHERE}"
        )
    if not data.num_levels or data.num_channels not in (1, 3):
        raise ConfigError(
            f"evaluation.features={given!r} sees grey or RGB images of levels, not {data.num_channels} channels with "
            f"data.num_levels={data.num_levels}; set evaluation.features={PIXELS}"
        )


def build_extractor(config: Any) -> Extractor:
    """As config.evaluation.features says.

    Raises:
      UserError: a file with other contents than these weights.
    """
    given, levels = config.evaluation.features, config.data.num_levels
    if given == PIXELS:
        return Extractor(
            {"features": PIXELS}, lambda images: Features(pixels(images, levels), None)
        )
    params, facts = load_inception(Path(user_path(given)))
    run = jax.jit(inception_features)

    def extract(images: np.ndarray) -> Features:
        pooled, logits = [], []
        with progress_bar(len(images), "features", "image") as bar:
            for start in range(0, len(images), BATCH):
                part = as_rgb(shades(images[start : start + BATCH], levels))
                count = len(part)
                padded = np.resize(part, (min(BATCH, len(images)), *part.shape[1:]))
                found = jax.device_get(run(params, padded))
                pooled.append(found.pooled[:count])
                logits.append(found.logits[:count])
                bar.update(count)
        return Features(np.concatenate(pooled), np.concatenate(logits))

    return Extractor({f"features_{name}": fact for name, fact in facts.items()}, extract)


def pixels(images: np.ndarray, levels: int) -> np.ndarray:
    """(n, d): levels in [0, 1], real numbers as they are."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    return flat / (levels - 1) if levels else flat
