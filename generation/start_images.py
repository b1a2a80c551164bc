"""What sampling begins from at sampling.t_start: images of the dataset, or arrays in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from score_sde import data
from score_sde.data.array_files import read_images
from score_sde.data.scaling import dequantize, scale, to_unit
from score_sde.errors import UserError
from score_sde.generation.generate import StartImages

SPLITS = ("test", "train")
KEYS = ("images", "states")


def check_start_images(sampling: Any) -> None:
    """t_start and start_images come together: without the one the other has no effect."""
    if bool(sampling.t_start) != bool(sampling.start_images):
        raise UserError(
            f"sampling.t_start={sampling.t_start}, sampling.start_images={sampling.start_images!r}: a later start than T's needs "
            "both, the time and what to begin from (test, train, or an .npz file); give both or neither"
        )
    if (
        sampling.start_images
        and sampling.start_images not in SPLITS
        and not Path(sampling.start_images).is_file()
    ):
        raise UserError(
            f"sampling.start_images={sampling.start_images!r}: no such file; give {' or '.join(SPLITS)}, or an .npz file with "
            "`images` (levels, as --mode sample writes them) or `states` (x at t_start)"
        )


def load_start_images(config: Any) -> StartImages | None:
    """The start images that `config.sampling` names; None where it names none.

    Raises:
      UserError: a file that cannot be read, or arrays of another shape than the config's images.
    """
    name, number = config.sampling.start_images, config.sampling.num_images
    if not name:
        return None
    if name in SPLITS:
        split = getattr(data.load(config), name)
        return StartImages(
            to_process(config, split.take(range(min(number, split.num_images)))), False
        )
    key, array = read_images(config, "sampling.start_images", name, KEYS)
    if key == "states":
        return StartImages(np.asarray(array, np.float32), True)
    return StartImages(to_process(config, array), False)


def to_process(config: Any, images: np.ndarray) -> np.ndarray:
    """Images in the units of the process, a level in the middle of its cell where training fills the cells."""
    options, levels = config.data, jnp.asarray(images)
    num_levels = options.num_levels or None
    if options.uniform_dequantization:
        y = dequantize(levels, jnp.full(levels.shape, 0.5), num_levels)
    else:
        y = to_unit(levels, num_levels)
    return np.asarray(scale(y, options.centered), np.float32)
