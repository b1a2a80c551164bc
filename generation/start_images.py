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
from score_sde.generation.generate import Guides

SPLITS = ("test", "train")
KEYS = ("images", "states")


def check_guides(sampling: Any) -> None:
    """t_start and guides come together: without the one the other has no effect."""
    if bool(sampling.t_start) != bool(sampling.guides):
        raise UserError(
            f"sampling.t_start={sampling.t_start}, sampling.guides={sampling.guides!r}: a later start than T's needs "
            "both, the time and what to begin from (test, train, or an .npz file); give both or neither"
        )
    if sampling.guides and sampling.guides not in SPLITS and not Path(sampling.guides).is_file():
        raise UserError(
            f"sampling.guides={sampling.guides!r}: no such file; give {' or '.join(SPLITS)}, or an .npz file with "
            "`images` (levels, as --mode sample writes them) or `states` (x at t_start)"
        )


def load_guides(config: Any) -> Guides | None:
    """The guides that `config.sampling` names; None where it names none.

    Raises:
      UserError: a file that cannot be read, or arrays of another shape than the config's images.
    """
    name, number = config.sampling.guides, config.sampling.num_images
    if not name:
        return None
    if name in SPLITS:
        split = getattr(data.load(config), name)
        return Guides(
            to_process(config, split.take(range(min(number, split.num_images))).images), False
        )
    key, array = read_images(config, "sampling.guides", name, KEYS)
    if key == "states":
        return Guides(np.asarray(array, np.float32), True)
    return Guides(to_process(config, array), False)


def to_process(config: Any, images: np.ndarray) -> np.ndarray:
    """Images in the units of the process, a level in the middle of its cell where training fills the cells."""
    options, levels = config.data, jnp.asarray(images)
    num_levels = options.num_levels or None
    if options.uniform_dequantization:
        y = dequantize(levels, jnp.full(levels.shape, 0.5), num_levels)
    else:
        y = to_unit(levels, num_levels)
    return np.asarray(scale(y, options.centered), np.float32)
