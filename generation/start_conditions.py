"""The classes and texts of start images of a split: samples that start from an image are conditioned on what it shows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from score_sde import data
from score_sde.data.builders import DatasetError
from score_sde.data.conditions import CONDITIONS
from score_sde.data.splits import Split
from score_sde.errors import UserError
from score_sde.files import user_path
from score_sde.generation.guides import sampled_classes
from score_sde.models.networks import condition_names
from score_sde.quality.image_sets import SPLITS
from score_sde.training.recorded_config import recorded_classes


def own_of_start_images(config: Any) -> tuple[str, ...]:
    """Names of the conditions read with each start image, `label` and `text`: those of a split's images that the command does not give."""
    sampling, names = config.sampling, condition_names(config)
    if sampling.start_images not in SPLITS:
        return ()
    asked = {
        "label": bool(sampled_classes(config)) and not sampling.labels,
        "text": "text" in names and not sampling.text,
    }
    return tuple(name for name, wanted in asked.items() if wanted)


def start_conditions(
    config: Any, classes: Sequence[str] = ()
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """These conditions by name, each a function of the samples' indices; sample i starts from image i mod the number of start images.

    `classes`: their names, in the network's numbering; those of a classifier that guides an unconditional network are its own.
    """
    names, sampling = own_of_start_images(config), config.sampling
    if "label" in names and "label" not in condition_names(config):
        classes = recorded_classes(user_path(sampling.guidance.classifier))

    @functools.cache
    def split() -> Split:
        try:
            found: Split = getattr(data.load(config, names, classes=classes), sampling.start_images)
        except DatasetError as error:
            raise UserError(
                f"sampling.start_images={sampling.start_images!r}: {error}; or say by --config.sampling.labels or text what they show"
            ) from error
        return found

    def read(name: str, indices: np.ndarray) -> np.ndarray:
        number = min(sampling.num_images, split().num_images)
        rows, places = np.unique(indices % number, return_inverse=True)
        readers = {name: CONDITIONS[name]}
        own: np.ndarray = split().subset(rows).with_conditions(readers).condition[name]
        return own[places]

    return {name: functools.partial(read, name) for name in names}
